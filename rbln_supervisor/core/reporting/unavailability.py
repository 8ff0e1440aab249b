"""Unavailable devices: device-seconds of a pool, by cause.

A device counts as unavailable, with one cause, while its pool lists it and the kubelet can't
allocate it. The cause is the first of these that applies:

* ``worker-down``: the pool has no working worker: it has ended, is being killed, starts, or is to
  be replaced;
* ``kubelet-away``: the worker waits for a kubelet (or yields to a newer instance);
* ``unregistered``: the worker serves, and no kubelet has a stream to it;
* ``unhealthy``: the kubelet gets the device as Unhealthy; the source is that of the evidence. A
  device that is gone counts (``sysfs``) until its grace period is over and it leaves the list.

A suspect device counts as Healthy, as it does for the kubelet. An orphan serves, but its state is
not known before its report: nothing is counted then. All values are the supervisor's: a worker's
report is some milliseconds old, a hung worker is detected after 5 s, and without a supervisor
nothing is counted.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import State
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.messages import Phase, Report

Cause = Literal["worker-down", "kubelet-away", "unregistered", "unhealthy"]

NOT_CHECKED: Final = "not-checked"
"""Source of devices without a health check so far."""


class LossCause(NamedTuple):
    """The cause of an unavailable device."""

    cause: Cause
    source: str = ""
    """Source of the evidence; only for ``unhealthy``."""


class Unavailability(msgspec.Struct, frozen=True):
    """Unavailability so far, and devices that are unavailable now."""

    seconds: Mapping[LossCause, float] = {}
    """Device-seconds until ``at``."""
    devices: Mapping[LossCause, int] = {}
    """Devices that are unavailable from then on."""
    at: float = 0.0
    """Monotonic seconds."""


def unavailable_devices(
    roster: DesiredState | None, state: State, report: Report | None
) -> Mapping[LossCause, int]:
    """Return the number of a pool's devices that are unavailable, by cause."""
    if roster is None or not roster.devices or state is State.ADOPTING:
        return {}
    if state is not State.UP:
        return {LossCause("worker-down"): len(roster.devices)}
    match report.phase if report else Phase.REGISTERING:
        case Phase.WAITING:
            return {LossCause("kubelet-away"): len(roster.devices)}
        case Phase.REGISTERING:
            return {LossCause("unregistered"): len(roster.devices)}
        case Phase.REGISTERED:
            verdicts = device_verdicts(roster, report).values()
            unhealthy = (one.source or NOT_CHECKED for one in verdicts if not one.healthy)
            return Counter(LossCause("unhealthy", source) for source in unhealthy)


def advance_unavailability(
    loss: Unavailability, devices: Mapping[LossCause, int], now: float
) -> Unavailability:
    """Return the unavailability at ``now``; from then on these devices are unavailable."""
    passed_s = max(0.0, now - loss.at)
    seconds = dict(loss.seconds)
    for why, count in loss.devices.items():
        seconds[why] = seconds.get(why, 0.0) + count * passed_s
    return Unavailability(seconds, devices, max(now, loss.at))


def device_verdicts(
    desired: DesiredState, report: Report | None, missing: str = ""
) -> Mapping[DeviceId, Verdict]:
    """Return the verdict of each device that a pool lists.

    A device that is gone is not healthy, also if its worker reports that only in a moment.
    ``missing``: the reason of devices without a verdict.
    """
    reported = {one.id: one.verdict for one in report.devices} if report else {}
    verdicts = {}
    for device in desired.devices.values():
        verdict = reported.get(device.id) or Verdict(healthy=False, reason=missing)
        if device.gone is not None and (verdict.healthy or device.id not in reported):
            verdict = Verdict(healthy=False, reason=device.gone, source="sysfs")
        verdicts[device.id] = verdict
    return verdicts

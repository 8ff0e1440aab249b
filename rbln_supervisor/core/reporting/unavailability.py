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
from rbln_worker.contract.messages import Phase, Report

Cause = Literal["worker-down", "kubelet-away", "unregistered", "unhealthy"]

SOURCES: Final = frozenset(
    {
        *("sysfs", "link", "node", "npu-status", "aer", "config-space"),
        *("files", "device-info", "cdi", "pods"),
    }
)
"""Values of the ``source`` label, a finite set for Prometheus."""
NOT_CHECKED: Final = "not-checked"
"""Label of devices without a health check so far."""
OTHER: Final = "other"
"""Label of any other source."""


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
    count = len(roster.devices) if roster else 0
    match state:
        case State.ADOPTING:
            return {}
        case State.UP:
            pass
        case _:
            return _all_devices(count, LossCause("worker-down"))
    match report.phase if report else Phase.REGISTERING:
        case Phase.WAITING:
            return _all_devices(count, LossCause("kubelet-away"))
        case Phase.REGISTERING:
            return _all_devices(count, LossCause("unregistered"))
        case Phase.REGISTERED:
            return _unhealthy_devices(roster, report)


def advance_unavailability(
    loss: Unavailability, devices: Mapping[LossCause, int], now: float
) -> Unavailability:
    """Return the unavailability at ``now``; from then on these devices are unavailable."""
    passed_s = max(0.0, now - loss.at)
    seconds = dict(loss.seconds)
    for why, count in loss.devices.items():
        seconds[why] = seconds.get(why, 0.0) + count * passed_s
    return Unavailability(seconds, devices, max(now, loss.at))


def source_of(source: str) -> str:
    """Return a verdict's source as a label value."""
    if not source:
        return NOT_CHECKED
    return source if source in SOURCES else OTHER


def _all_devices(count: int, why: LossCause) -> Mapping[LossCause, int]:
    return {why: count} if count else {}


def _unhealthy_devices(
    roster: DesiredState | None, report: Report | None
) -> Mapping[LossCause, int]:
    said = {one.id: one.verdict for one in report.devices} if report else {}
    counts: Counter[LossCause] = Counter()
    for device in roster.devices.values() if roster else ():
        verdict = said.get(device.id)
        if device.gone is not None and (verdict is None or verdict.healthy):
            counts[LossCause("unhealthy", "sysfs")] += 1  # its worker reports it in a moment
        elif verdict is None:
            counts[LossCause("unhealthy", NOT_CHECKED)] += 1
        elif not verdict.healthy:
            counts[LossCause("unhealthy", source_of(verdict.source))] += 1
    return dict(counts)

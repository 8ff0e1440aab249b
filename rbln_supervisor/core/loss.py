"""Allocatable that is lost: device-seconds of a pool, by cause.

At each moment a device counts as lost, with one cause, if its pool lists it and the kubelet can't
give it out. The first of these that holds:

* ``worker-down``: the pool's worker is not there: dead, being killed, starting, to be replaced;
* ``kubelet-away``: the worker waits for a kubelet (or stands back for a younger instance);
* ``unregistered``: it serves, and no kubelet holds a stream of it;
* ``unhealthy``: the kubelet hears that the device is Unhealthy; the source is who says so. A device
  that is gone counts (``sysfs``) until its grace time is over and it leaves the list.

One that is suspected counts as Healthy, as it does for the kubelet. A worker that an earlier
supervisor left serves, although nothing is known of it before it has said so: nothing is counted
then. All is as the supervisor knows it: what a worker says is some milliseconds old, one that hangs
is found out after 5 s, and while there is no supervisor nobody counts.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from rbln_supervisor.core.lifecycle import State
from rbln_supervisor.core.roster import Roster
from rbln_worker.contract.messages import Phase, Report

Cause = Literal["worker-down", "kubelet-away", "unregistered", "unhealthy"]

SOURCES: Final = frozenset(
    {
        *("sysfs", "link", "node", "npu-status", "aer", "config-space"),
        *("files", "device-info", "cdi", "pods"),
    }
)
"""What may speak against a device: a label's values have to be bounded …"""
NOT_LOOKED_AT: Final = "not-looked-at"
"""… with this one, where nobody has looked yet, …"""
OTHER: Final = "other"
"""… and this one."""


class Why(NamedTuple):
    """Why a device is lost."""

    cause: Cause
    source: str = ""
    """Of an unhealthy one."""


class Loss(msgspec.Struct, frozen=True):
    """What was lost so far, and what is lost now."""

    seconds: Mapping[Why, float] = {}
    """Device-seconds until ``at``."""
    devices: Mapping[Why, int] = {}
    """Lost from then on."""
    at: float = 0.0
    """Monotonic seconds."""


def lost(roster: Roster | None, state: State, report: Report | None) -> Mapping[Why, int]:
    """How many devices of a pool are lost at a moment, and why."""
    count = len(roster.devices) if roster else 0
    match state:
        case State.ADOPTING:
            return {}
        case State.UP:
            pass
        case _:
            return _all(count, Why("worker-down"))
    match report.phase if report else Phase.REGISTERING:
        case Phase.WAITING:
            return _all(count, Why("kubelet-away"))
        case Phase.REGISTERING:
            return _all(count, Why("unregistered"))
        case Phase.REGISTERED:
            return _unhealthy(roster, report)


def advance(loss: Loss, devices: Mapping[Why, int], now: float) -> Loss:
    """The loss after a time in which nothing changed; from now on these devices are lost."""
    passed_s = max(0.0, now - loss.at)
    seconds = dict(loss.seconds)
    for why, count in loss.devices.items():
        seconds[why] = seconds.get(why, 0.0) + count * passed_s
    return Loss(seconds, devices, max(now, loss.at))


def source_of(source: str) -> str:
    """A verdict's source as a label's value."""
    if not source:
        return NOT_LOOKED_AT
    return source if source in SOURCES else OTHER


def _all(count: int, why: Why) -> Mapping[Why, int]:
    return {why: count} if count else {}


def _unhealthy(roster: Roster | None, report: Report | None) -> Mapping[Why, int]:
    said = {one.id: one.verdict for one in report.devices} if report else {}
    counts: Counter[Why] = Counter()
    for device in roster.devices.values() if roster else ():
        verdict = said.get(device.id)
        if device.gone is not None and (verdict is None or verdict.healthy):
            counts[Why("unhealthy", "sysfs")] += 1  # its worker will say so in a moment
        elif verdict is None:
            counts[Why("unhealthy", NOT_LOOKED_AT)] += 1
        elif not verdict.healthy:
            counts[Why("unhealthy", source_of(verdict.source))] += 1
    return dict(counts)

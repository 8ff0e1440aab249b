"""Texts of Kubernetes Events."""

from collections.abc import Sequence
from typing import Final

from rbln_supervisor.core.events.occurrences import FLAP_S, FLAPS, OccurrenceGroup
from rbln_supervisor.core.events.reasons import EventReason
from rbln_worker.core.limit_bytes import limit_line

MAX_NOTE_BYTES: Final = 1024
"""Maximum of events.k8s.io/v1 (bytes)."""
MAX_NAMED: Final = 12
"""Devices that a text names; others are counted."""

_STATES: Final = {
    EventReason.DEVICE_UNHEALTHY: "Unhealthy",
    EventReason.DEVICE_HEALTHY: "Healthy again",
    EventReason.DEVICE_FLAPPING: f"Unhealthy for the {FLAPS}rd time or more in {FLAP_S / 60:g} min",
    EventReason.DEVICE_NOT_ANSWERING: "not answering; the kubelet keeps the last state",
    EventReason.DEVICE_REMOVED: "no longer in the pool",
}
_STARTS: Final = {
    EventReason.POOL_WORKER_RESTARTED: "the worker of {pool} ended and is started again",
    EventReason.POOL_INVALID: "{pool} can't be exported",
    EventReason.CONFIGURATION_REFUSED: "the configuration was refused, the former one stays active",
    EventReason.CONFIGURATION_APPLIED: "a new configuration is active",
    EventReason.FOREIGN_EXPORTER: "",
}


def event_note(group: OccurrenceGroup, *, for_pod: bool) -> str:
    """Return the text of an Event about a group."""
    if group.reason.series_by == "device":
        text = _device_note(group, for_pod=for_pod)
    else:
        start = _STARTS[group.reason].format(pool=group.pool)
        text = ": ".join(filter(None, (start, group.members[0].text)))
    return limit_line(text, MAX_NOTE_BYTES)


def name_list(devices: Sequence[str]) -> str:
    """Return the first MAX_NAMED names, and the number of the others."""
    more = len(devices) - MAX_NAMED
    names = ", ".join(devices[:MAX_NAMED])
    return f"{names} and {more} more" if more > 0 else names


def _device_note(group: OccurrenceGroup, *, for_pod: bool) -> str:
    """Return ``2 devices of POOL are Unhealthy: A, B: why``; each why once."""
    members = group.members
    many = len(members) > 1
    subject = f"{len(members)} devices" if many else f"device {members[0].device}"
    held = " that this pod has" if for_pod else ""
    text = f"{subject} of {group.pool}{held} {'are' if many else 'is'} {_STATES[group.reason]}"
    causes: dict[str, list[str]] = {}
    for one in members:
        causes.setdefault(one.text, []).append(one.device)
    if not many:
        return f"{text}{_appendix(members[0].text)}"
    return f"{text}: " + "; ".join(
        f"{name_list(devices)}{_appendix(why)}" for why, devices in causes.items()
    )


def _appendix(text: str) -> str:
    return f": {text}" if text else ""

"""The optional condition of the Node: True while devices are Unhealthy."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from rbln_supervisor.core.events.notes import MAX_NOTE_BYTES, name_list
from rbln_worker.core.limit_bytes import limit_line

Body = dict[str, object]

HEARTBEAT_S: Final = 300.0
"""Interval between two writes of a condition that stays the same, as the kubelet's."""
FIRST_HEARTBEAT_S: Final = 30.0
"""The interval during the first FIRST_S: in an update the leaving agent removes the condition."""
FIRST_S: Final = 300.0


class NodeCondition(msgspec.Struct, frozen=True):
    """The condition as it was written last, or is to be written."""

    kind: str
    is_true: bool
    message: str
    since: float
    """Time of the change of ``is_true`` (seconds since the epoch)."""


def next_condition(
    kind: str, unhealthy: Sequence[str], count: int, earlier: NodeCondition | None, now: float
) -> NodeCondition:
    """Return the condition for these Unhealthy devices, of ``count`` devices."""
    if unhealthy:
        message = f"{len(unhealthy)} of {count} devices are Unhealthy: {name_list(unhealthy)}"
    else:
        message = f"no device is Unhealthy, of {count}"
    is_true = bool(unhealthy)
    since = now
    if earlier is not None and (earlier.kind, earlier.is_true) == (kind, is_true):
        since = earlier.since
    return NodeCondition(kind, is_true, limit_line(message, MAX_NOTE_BYTES), since)


def condition_patch(condition: NodeCondition, now: float) -> Body:
    """Return the strategic merge patch of the Node's status that writes the condition."""
    entry = {
        "type": condition.kind,
        "status": "True" if condition.is_true else "False",
        "reason": "DevicesUnhealthy" if condition.is_true else "DevicesHealthy",
        "message": condition.message,
        "lastHeartbeatTime": _second_time(now),
        "lastTransitionTime": _second_time(condition.since),
    }
    return {"status": {"conditions": [entry]}}


def removal_patch(kind: str) -> Body:
    """Return the strategic merge patch of the Node's status that removes a condition."""
    return {"status": {"conditions": [{"$patch": "delete", "type": kind}]}}


def heartbeat_s(age_s: float) -> float:
    """Return the interval until the next write, by the age of the agent."""
    return FIRST_HEARTBEAT_S if age_s < FIRST_S else HEARTBEAT_S


def _second_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

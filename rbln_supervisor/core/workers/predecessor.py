"""The end of a worker that is replaced: it serves until the kubelet lists its successor.

So the kubelet has a stream of the pool at any time. If the successor does not start, or the kubelet
refuses it, the predecessor keeps serving.
"""

from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.workers.lifecycle import LEAVE_TIMEOUT_S, Act, State
from rbln_worker.contract.messages import Phase

LINGER_S: Final = 1.0
"""Seconds: a kubelet may read the end of one stream before the first message of another."""
_ENDING: Final = frozenset({State.NONE, State.LEAVING, State.WITHDRAWING})
"""States of a pool that is not wanted."""


class Stage(StrEnum):
    """Stage of its end."""

    SERVING = "serving"
    LEAVING = "leaving"
    """SIGTERM is sent; killed at the deadline."""
    KILLED = "killed"


class Predecessor(msgspec.Struct, frozen=True):
    """A replaced worker that has not ended yet."""

    stage: Stage = Stage.SERVING
    deadline: float | None = None
    """Monotonic seconds."""


def step_predecessor(
    predecessor: Predecessor, successor: State, phase: Phase | None, now: float
) -> tuple[Predecessor, Act | None]:
    """Return the predecessor at ``now``, and the action that is due.

    ``phase`` is the successor's registration phase; None before its first report. While it waits
    for a kubelet, there is no list that could be interrupted.
    """
    is_replaced = successor is State.UP and phase in {Phase.REGISTERED, Phase.WAITING}
    is_due = predecessor.deadline is not None and now >= predecessor.deadline
    match predecessor.stage:
        case Stage.SERVING if successor in _ENDING or (is_replaced and is_due):
            return Predecessor(Stage.LEAVING, now + LEAVE_TIMEOUT_S), Act.DRAIN_PREDECESSOR
        case Stage.SERVING if not is_replaced:
            return Predecessor(), None
        case Stage.SERVING if predecessor.deadline is None:
            return Predecessor(deadline=now + LINGER_S), None
        case Stage.LEAVING if is_due:
            return Predecessor(Stage.KILLED), Act.KILL_PREDECESSOR
        case _:
            return predecessor, None

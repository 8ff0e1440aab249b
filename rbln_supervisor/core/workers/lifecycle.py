"""The life cycle of a pool's worker, as a table of rules.

Terms of the table: a *wanted* pool has a device. An *orphan* (``OrphanFound``) is a living worker
that an earlier supervisor forked and that holds the pool's lock. It is *adopted* after its hello
and its state (``StateReceived``). An orphan with another version or other options is
*incompatible*: it serves as the predecessor (predecessor.py) of a worker that is started beside it.
To drain a worker is to send SIGTERM, by pidfd. The slices of a DRA worker stay then, for its
successor. When its export ends (``ExportEnded``), it is sent a state without DRA, withdraws its
slices and ends.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.workers import backoff
from rbln_supervisor.core.workers.worker_events import (
    DeadlinePassed,
    Event,
    Exited,
    ExportEnded,
    Incompatible,
    MessageReceived,
    Needed,
    NotNeeded,
    OrphanFound,
    StateReceived,
)

HELLO_TIMEOUT_S: Final = 10.0
"""Maximum time until a worker's hello, or an orphan's state (seconds)."""
HEARTBEAT_TIMEOUT_S: Final = 5.0
"""Seconds without a message after which a worker counts as hung."""
LEAVE_TIMEOUT_S: Final = 1.5
"""Time for a drained worker to end (seconds); then it is killed."""
WITHDRAW_TIMEOUT_S: Final = 5.0
"""Time for a worker to withdraw its slices and end (seconds); then it is drained. The API server
may not answer; the kubelet deletes slices 30 s after the last socket of their driver."""


class State(StrEnum):
    """State of the life cycle."""

    NONE = "none"
    """No worker, and none wanted."""
    STARTING = "starting"
    """Forked; no hello yet."""
    UP = "up"
    """Has sent its hello, and sends heartbeats."""
    DOWN = "down"
    """Ended; the next start is due at the deadline."""
    LEAVING = "leaving"
    """Drained; killed at the deadline."""
    WITHDRAWING = "withdrawing"
    """Its export by DRA has ended: it withdraws its slices; drained at the deadline."""
    ADOPTING = "adopting"
    """An orphan serves the pool; its hello or its state is missing."""
    KILLED = "killed"
    """SIGKILL is sent; only its end is missing."""


class Act(StrEnum):
    """Actions for the shell."""

    SPAWN = "spawn"
    REPLACE = "replace"
    """Make the living worker the predecessor, and spawn its successor."""
    DRAIN = "drain"
    KILL = "kill"
    DRAIN_PREDECESSOR = "drain predecessor"
    KILL_PREDECESSOR = "kill predecessor"
    PROMOTE_SUCCESSOR = "promote successor"
    """Replace the predecessor's lock by the successor's."""
    SWEEP_SOCKETS = "sweep sockets"
    """Remove the pool's sockets without a listener."""
    CLEAR_FILES = "clear files"
    """Remove the pool's files on the host: it is not wanted, and has no worker any more."""


class Child(msgspec.Struct, frozen=True):
    """A pool's worker and its history."""

    state: State = State.NONE
    wanted: bool = False
    started_at: float = 0.0
    deadline: float | None = None
    failures: int = 0
    """Number of consecutive exits."""
    restarts: int = 0
    """Number of starts after an unexpected exit."""


Rule = Callable[[Child, Event, float], tuple[Child, tuple[Act, ...]]]


def step(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Return the state after an event, and the actions."""
    rule = TABLE.get((child.state, type(event)))
    return rule(child, event, now) if rule else (child, ())


def _note_wanted(child: Child, event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, wanted=isinstance(event, Needed)), ()


def _start_worker(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    born = msgspec.structs.replace(
        child, state=State.STARTING, wanted=True, started_at=now, deadline=now + HELLO_TIMEOUT_S
    )
    return born, (Act.SPAWN,)


def _become_up(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.UP, deadline=now + HEARTBEAT_TIMEOUT_S), ()


def _kill_worker(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.KILLED, deadline=None), (Act.KILL,)


def _drain_worker(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    leaving = msgspec.structs.replace(
        child, state=State.LEAVING, wanted=False, deadline=now + LEAVE_TIMEOUT_S
    )
    return leaving, (Act.DRAIN,)


def _withdraw_export(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    withdrawing = msgspec.structs.replace(
        child, state=State.WITHDRAWING, wanted=False, deadline=now + WITHDRAW_TIMEOUT_S
    )
    return withdrawing, ()


def _start_to_withdraw(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Start a worker for the slices of one that died."""
    return _withdraw_export(child, event, now)[0], (Act.SPAWN,)


def _end_withdrawal(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Drain a worker that has not withdrawn its slices in time; the pool may be wanted again."""
    leaving, acts = _drain_worker(child, event, now)
    return msgspec.structs.replace(leaving, wanted=child.wanted), acts


def _adopt_orphan(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Start to adopt an orphan. Its pool counts as wanted until an event says otherwise."""
    met = msgspec.structs.replace(
        child, state=State.ADOPTING, wanted=True, started_at=now, deadline=now + HELLO_TIMEOUT_S
    )
    return met, ()


def _replace_worker(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    return _start_worker(child, event, now)[0], (Act.REPLACE,)


def _become_none(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.NONE, wanted=False, deadline=None), ()


def _schedule_restart(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Handle an unexpected exit."""
    if not child.wanted:
        return _become_none(child, event, now)
    failures = backoff.consecutive_failures(child.failures, now - child.started_at)
    chance = event.chance if isinstance(event, Exited) else 0.5
    wait = backoff.backoff_s(failures, chance)
    down = msgspec.structs.replace(
        child, state=State.DOWN, deadline=now + wait, failures=failures, restarts=child.restarts + 1
    )
    return down, ()


def _exited_as_asked(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Handle the exit of a drained worker; the pool may be wanted again by now."""
    return _start_worker(child, event, now) if child.wanted else _become_none(child, event, now)


TABLE: Final[Mapping[tuple[State, type[Event]], Rule]] = {
    (State.NONE, Needed): _start_worker,
    (State.NONE, OrphanFound): _adopt_orphan,
    (State.STARTING, NotNeeded): _drain_worker,
    (State.STARTING, ExportEnded): _withdraw_export,
    (State.STARTING, MessageReceived): _become_up,
    (State.STARTING, OrphanFound): _adopt_orphan,
    (State.STARTING, Exited): _schedule_restart,
    (State.STARTING, DeadlinePassed): _kill_worker,
    (State.UP, NotNeeded): _drain_worker,
    (State.UP, ExportEnded): _withdraw_export,
    (State.UP, MessageReceived): _become_up,
    (State.UP, Exited): _schedule_restart,
    (State.UP, DeadlinePassed): _kill_worker,
    (State.DOWN, NotNeeded): _become_none,
    (State.DOWN, ExportEnded): _start_to_withdraw,
    (State.DOWN, DeadlinePassed): _start_worker,
    (State.LEAVING, Needed): _note_wanted,
    (State.LEAVING, NotNeeded): _note_wanted,
    (State.LEAVING, ExportEnded): _note_wanted,
    (State.LEAVING, Exited): _exited_as_asked,
    (State.LEAVING, DeadlinePassed): _kill_worker,
    (State.WITHDRAWING, Needed): _note_wanted,
    (State.WITHDRAWING, NotNeeded): _drain_worker,
    (State.WITHDRAWING, ExportEnded): _note_wanted,
    (State.WITHDRAWING, Exited): _exited_as_asked,
    (State.WITHDRAWING, DeadlinePassed): _end_withdrawal,
    (State.ADOPTING, NotNeeded): _drain_worker,
    (State.ADOPTING, ExportEnded): _withdraw_export,
    (State.ADOPTING, Incompatible): _replace_worker,
    (State.ADOPTING, StateReceived): _become_up,
    (State.ADOPTING, Exited): _schedule_restart,
    (State.ADOPTING, DeadlinePassed): _kill_worker,
    (State.KILLED, Needed): _note_wanted,
    (State.KILLED, NotNeeded): _note_wanted,
    (State.KILLED, ExportEnded): _note_wanted,
    (State.KILLED, Exited): _schedule_restart,
}
"""Any other event changes nothing in its state."""

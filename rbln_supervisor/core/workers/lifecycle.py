"""The life cycle of a pool's worker, as a table with every cell written down.

Terms of the table: a *wanted* pool has a device. An *orphan* (``OrphanFound``) is a living worker
that an earlier supervisor forked and that holds the pool's lock. It is *adopted* after its hello
and its state (``StateReceived``). An orphan with another version or other options is
*incompatible*: it serves as the predecessor (predecessor.py) of a worker that is started beside it.
To drain a worker is to send SIGTERM, by pidfd.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.workers import backoff

HELLO_TIMEOUT_S: Final = 10.0
"""Maximum time until a worker's hello, or an orphan's state (seconds)."""
HEARTBEAT_TIMEOUT_S: Final = 5.0
"""Seconds without a message after which a worker counts as hung."""
LEAVE_TIMEOUT_S: Final = 1.5
"""Time for a drained worker to end (seconds); then it is killed."""


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


class Child(msgspec.Struct, frozen=True):
    """A pool's worker and its history."""

    state: State = State.NONE
    wanted: bool = False
    born: float = 0.0
    deadline: float | None = None
    deaths: int = 0
    """Number of consecutive exits."""
    restarts: int = 0
    """Number of starts after an unexpected exit."""


class Needed(msgspec.Struct, frozen=True):
    """Event: the pool has devices."""


class NotNeeded(msgspec.Struct, frozen=True):
    """Event: the pool was removed, or the supervisor is leaving."""


class MessageReceived(msgspec.Struct, frozen=True):
    """Event: the worker sent a message, so it is alive."""


class OrphanFound(msgspec.Struct, frozen=True):
    """Event: an orphan holds the pool's lock; found at the start, or instead of a spawn."""


class Incompatible(msgspec.Struct, frozen=True):
    """Event: the orphan's hello shows that it can't be adopted."""


class StateReceived(msgspec.Struct, frozen=True):
    """Event: the orphan has reported its state."""


class Exited(msgspec.Struct, frozen=True):
    """Event: the process has ended; ``chance`` in [0, 1) decides the jitter of the next delay."""

    chance: float


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Event: the deadline has passed."""


Event = (
    Needed
    | NotNeeded
    | MessageReceived
    | OrphanFound
    | Incompatible
    | StateReceived
    | Exited
    | DeadlinePassed
)
Rule = Callable[[Child, Event, float], tuple[Child, tuple[Act, ...]]]


def step(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Return the state after an event, and the actions."""
    return TABLE[child.state, type(event)](child, event, now)


def _stay(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return child, ()


def _note_wanted(child: Child, event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, wanted=isinstance(event, Needed)), ()


def _spawn(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    born = msgspec.structs.replace(
        child, state=State.STARTING, wanted=True, born=now, deadline=now + HELLO_TIMEOUT_S
    )
    return born, (Act.SPAWN,)


def _up(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.UP, deadline=now + HEARTBEAT_TIMEOUT_S), ()


def _kill(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.KILLED, deadline=None), (Act.KILL,)


def _drain(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    leaving = msgspec.structs.replace(
        child, state=State.LEAVING, wanted=False, deadline=now + LEAVE_TIMEOUT_S
    )
    return leaving, (Act.DRAIN,)


def _meet(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Start to adopt an orphan. Its pool counts as wanted until an event says otherwise."""
    met = msgspec.structs.replace(
        child, state=State.ADOPTING, wanted=True, born=now, deadline=now + HELLO_TIMEOUT_S
    )
    return met, ()


def _replace(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    return _spawn(child, event, now)[0], (Act.REPLACE,)


def _forget(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.NONE, wanted=False, deadline=None), ()


def _bury(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Handle an unexpected exit."""
    if not child.wanted:
        return _forget(child, event, now)
    deaths = backoff.consecutive_failures(child.deaths, now - child.born)
    chance = event.chance if isinstance(event, Exited) else 0.5
    wait = backoff.backoff_s(deaths, chance)
    down = msgspec.structs.replace(
        child, state=State.DOWN, deadline=now + wait, deaths=deaths, restarts=child.restarts + 1
    )
    return down, ()


def _left(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Handle the exit of a drained worker; the pool may be wanted again by now."""
    return _spawn(child, event, now) if child.wanted else _forget(child, event, now)


TABLE: Final[Mapping[tuple[State, type[Event]], Rule]] = {
    (State.NONE, Needed): _spawn,
    (State.NONE, NotNeeded): _stay,
    (State.NONE, MessageReceived): _stay,
    (State.NONE, OrphanFound): _meet,
    (State.NONE, Incompatible): _stay,
    (State.NONE, StateReceived): _stay,
    (State.NONE, Exited): _stay,
    (State.NONE, DeadlinePassed): _stay,
    (State.STARTING, Needed): _stay,
    (State.STARTING, NotNeeded): _drain,
    (State.STARTING, MessageReceived): _up,
    (State.STARTING, OrphanFound): _meet,
    (State.STARTING, Incompatible): _stay,
    (State.STARTING, StateReceived): _stay,
    (State.STARTING, Exited): _bury,
    (State.STARTING, DeadlinePassed): _kill,
    (State.UP, Needed): _stay,
    (State.UP, NotNeeded): _drain,
    (State.UP, MessageReceived): _up,
    (State.UP, OrphanFound): _stay,
    (State.UP, Incompatible): _stay,
    (State.UP, StateReceived): _stay,
    (State.UP, Exited): _bury,
    (State.UP, DeadlinePassed): _kill,
    (State.DOWN, Needed): _stay,
    (State.DOWN, NotNeeded): _forget,
    (State.DOWN, MessageReceived): _stay,
    (State.DOWN, OrphanFound): _stay,
    (State.DOWN, Incompatible): _stay,
    (State.DOWN, StateReceived): _stay,
    (State.DOWN, Exited): _stay,
    (State.DOWN, DeadlinePassed): _spawn,
    (State.LEAVING, Needed): _note_wanted,
    (State.LEAVING, NotNeeded): _note_wanted,
    (State.LEAVING, MessageReceived): _stay,
    (State.LEAVING, OrphanFound): _stay,
    (State.LEAVING, Incompatible): _stay,
    (State.LEAVING, StateReceived): _stay,
    (State.LEAVING, Exited): _left,
    (State.LEAVING, DeadlinePassed): _kill,
    (State.ADOPTING, Needed): _stay,
    (State.ADOPTING, NotNeeded): _drain,
    (State.ADOPTING, MessageReceived): _stay,
    (State.ADOPTING, OrphanFound): _stay,
    (State.ADOPTING, Incompatible): _replace,
    (State.ADOPTING, StateReceived): _up,
    (State.ADOPTING, Exited): _bury,
    (State.ADOPTING, DeadlinePassed): _kill,
    (State.KILLED, Needed): _note_wanted,
    (State.KILLED, NotNeeded): _note_wanted,
    (State.KILLED, MessageReceived): _stay,
    (State.KILLED, OrphanFound): _stay,
    (State.KILLED, Incompatible): _stay,
    (State.KILLED, StateReceived): _stay,
    (State.KILLED, Exited): _bury,
    (State.KILLED, DeadlinePassed): _stay,
}

"""The life cycle of a pool's worker, as a table with every cell written down.

Terms of the table: a *wanted* pool has a device. An *orphan* (``MetStranger``) is a living worker
that an earlier supervisor forked and that holds the pool's lock. It is *adopted* after its hello
and its state (``Recalled``). An orphan with another version or other options is *unfit*: it serves
as the predecessor (core/predecessor.py) of a worker that is started beside it. To drain a worker is
to send SIGTERM, by pidfd.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.workers import backoff

HELLO_WITHIN_S: Final = 10.0
"""Maximum time until a worker's hello, or an orphan's state (seconds)."""
BEAT_WITHIN_S: Final = 5.0
"""Seconds without a message after which a worker counts as hung."""
LEAVE_WITHIN_S: Final = 1.5
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


class Wanted(msgspec.Struct, frozen=True):
    """Event: the pool has devices."""


class Unwanted(msgspec.Struct, frozen=True):
    """Event: the pool was removed, or the supervisor is leaving."""


class Heard(msgspec.Struct, frozen=True):
    """Event: the worker sent a message, so it is alive."""


class MetStranger(msgspec.Struct, frozen=True):
    """Event: an orphan holds the pool's lock; found at the start, or instead of a spawn."""


class Unfit(msgspec.Struct, frozen=True):
    """Event: the orphan's hello shows that it can't be adopted."""


class Recalled(msgspec.Struct, frozen=True):
    """Event: the orphan has reported its state."""


class Died(msgspec.Struct, frozen=True):
    """Event: the process has ended; ``chance`` in [0, 1) decides the jitter of the next delay."""

    chance: float


class Overdue(msgspec.Struct, frozen=True):
    """Event: the deadline has passed."""


Event = Wanted | Unwanted | Heard | MetStranger | Unfit | Recalled | Died | Overdue
Rule = Callable[[Child, Event, float], tuple[Child, tuple[Act, ...]]]


def step(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Return the state after an event, and the actions."""
    return TABLE[child.state, type(event)](child, event, now)


def _stay(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return child, ()


def _note_wanted(child: Child, event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, wanted=isinstance(event, Wanted)), ()


def _spawn(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    born = msgspec.structs.replace(
        child, state=State.STARTING, wanted=True, born=now, deadline=now + HELLO_WITHIN_S
    )
    return born, (Act.SPAWN,)


def _up(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.UP, deadline=now + BEAT_WITHIN_S), ()


def _kill(child: Child, _event: Event, _now: float) -> tuple[Child, tuple[Act, ...]]:
    return msgspec.structs.replace(child, state=State.KILLED, deadline=None), (Act.KILL,)


def _drain(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    leaving = msgspec.structs.replace(
        child, state=State.LEAVING, wanted=False, deadline=now + LEAVE_WITHIN_S
    )
    return leaving, (Act.DRAIN,)


def _meet(child: Child, _event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Start to adopt an orphan. Its pool counts as wanted until an event says otherwise."""
    met = msgspec.structs.replace(
        child, state=State.ADOPTING, wanted=True, born=now, deadline=now + HELLO_WITHIN_S
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
    deaths = backoff.deaths_in_a_row(child.deaths, now - child.born)
    chance = event.chance if isinstance(event, Died) else 0.5
    wait = backoff.delay_s(deaths, chance)
    down = msgspec.structs.replace(
        child, state=State.DOWN, deadline=now + wait, deaths=deaths, restarts=child.restarts + 1
    )
    return down, ()


def _left(child: Child, event: Event, now: float) -> tuple[Child, tuple[Act, ...]]:
    """Handle the exit of a drained worker; the pool may be wanted again by now."""
    return _spawn(child, event, now) if child.wanted else _forget(child, event, now)


TABLE: Final[Mapping[tuple[State, type[Event]], Rule]] = {
    (State.NONE, Wanted): _spawn,
    (State.NONE, Unwanted): _stay,
    (State.NONE, Heard): _stay,
    (State.NONE, MetStranger): _meet,
    (State.NONE, Unfit): _stay,
    (State.NONE, Recalled): _stay,
    (State.NONE, Died): _stay,
    (State.NONE, Overdue): _stay,
    (State.STARTING, Wanted): _stay,
    (State.STARTING, Unwanted): _drain,
    (State.STARTING, Heard): _up,
    (State.STARTING, MetStranger): _meet,
    (State.STARTING, Unfit): _stay,
    (State.STARTING, Recalled): _stay,
    (State.STARTING, Died): _bury,
    (State.STARTING, Overdue): _kill,
    (State.UP, Wanted): _stay,
    (State.UP, Unwanted): _drain,
    (State.UP, Heard): _up,
    (State.UP, MetStranger): _stay,
    (State.UP, Unfit): _stay,
    (State.UP, Recalled): _stay,
    (State.UP, Died): _bury,
    (State.UP, Overdue): _kill,
    (State.DOWN, Wanted): _stay,
    (State.DOWN, Unwanted): _forget,
    (State.DOWN, Heard): _stay,
    (State.DOWN, MetStranger): _stay,
    (State.DOWN, Unfit): _stay,
    (State.DOWN, Recalled): _stay,
    (State.DOWN, Died): _stay,
    (State.DOWN, Overdue): _spawn,
    (State.LEAVING, Wanted): _note_wanted,
    (State.LEAVING, Unwanted): _note_wanted,
    (State.LEAVING, Heard): _stay,
    (State.LEAVING, MetStranger): _stay,
    (State.LEAVING, Unfit): _stay,
    (State.LEAVING, Recalled): _stay,
    (State.LEAVING, Died): _left,
    (State.LEAVING, Overdue): _kill,
    (State.ADOPTING, Wanted): _stay,
    (State.ADOPTING, Unwanted): _drain,
    (State.ADOPTING, Heard): _stay,
    (State.ADOPTING, MetStranger): _stay,
    (State.ADOPTING, Unfit): _replace,
    (State.ADOPTING, Recalled): _up,
    (State.ADOPTING, Died): _bury,
    (State.ADOPTING, Overdue): _kill,
    (State.KILLED, Wanted): _note_wanted,
    (State.KILLED, Unwanted): _note_wanted,
    (State.KILLED, Heard): _stay,
    (State.KILLED, MetStranger): _stay,
    (State.KILLED, Unfit): _stay,
    (State.KILLED, Recalled): _stay,
    (State.KILLED, Died): _bury,
    (State.KILLED, Overdue): _stay,
}

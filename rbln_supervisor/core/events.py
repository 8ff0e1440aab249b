"""Transitions that people ask about, and how they are asked for."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

KEPT_MOST: Final = 4096
"""Events that a supervisor keeps; an answer has no more."""
TEXT_MOST: Final = 300
"""Characters of each text of an event: it may be anybody's."""

Kind = Literal["device", "pool", "registration", "worker", "reload", "kubelet", "supervisor", "pod"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition."""

    number: int
    """From 1, rising, also over a supervisor's restart as long as its run directory lasts."""
    at: float
    """Seconds since the epoch; of what a worker saw: when it saw it."""
    kind: Kind
    what: str
    """What it came to: ``Unhealthy``, ``serving``, ``died``, ``refused``, …"""
    pool: str = ""
    device: str = ""
    source: str = ""
    """Where the evidence comes from; of a registration: the way."""
    why: str = ""
    worker: str = ""
    """The life of a worker that saw it (its incarnation) …"""
    turn: int = 0
    """… and its number there: what is told twice is recorded once."""


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which events are asked for."""

    most: int = KEPT_MOST
    """The newest so many."""
    pool: str = ""
    device: str = ""
    since: float = 0.0
    """Seconds since the epoch."""
    after: int = 0
    """Only those with a greater number."""


def chosen(events: Iterable[Event], query: Query) -> tuple[Event, ...]:
    """The events that are asked for, as they were recorded; a pool or a device may be shortened.

    What concerns all (a kubelet's restart, a reload) belongs to the answer for a pool, not to that
    for a device.
    """
    found = [event for event in events if _is_meant(event, query)]
    return tuple(found[-query.most :]) if query.most > 0 else ()


def bounded(text: str) -> str:
    """A text as an event may have it."""
    return text if len(text) <= TEXT_MOST else f"{text[: TEXT_MOST - 1]}…"


def _is_meant(event: Event, query: Query) -> bool:
    if event.number <= query.after or event.at < query.since:
        return False
    if query.pool and event.pool and not named(event.pool, query.pool):
        return False
    return not query.device or named(event.device, query.device, sign=":")


def named(name: str, asked: str, *, sign: str = "/") -> bool:
    """Whether a name is meant: whole, or without what stands before its first sign."""
    return asked in (name, name.partition(sign)[2])

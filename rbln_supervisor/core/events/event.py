"""Events of the event log, and queries for them."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

MAX_EVENTS: Final = 4096
"""Maximum number of events that a supervisor keeps, and of events in a reply."""
MAX_TEXT: Final = 300
"""Maximum length of each text of an event (characters): texts may come from anywhere."""

Kind = Literal["device", "pool", "registration", "worker", "reload", "kubelet", "supervisor", "pod"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition."""

    number: int
    """Number from 1, increasing, also over restarts of the supervisor while its run directory
    exists."""
    at: float
    """Seconds since the epoch; for a worker's events the time of the worker."""
    kind: Kind
    what: str
    """New state or event: ``Unhealthy``, ``serving``, ``died``, ``refused``, …"""
    pool: str = ""
    device: str = ""
    source: str = ""
    """Source of the evidence; for a registration: kubelet.sock or plugin watcher."""
    why: str = ""
    worker: str = ""
    """Incarnation of the worker that reported it."""
    turn: int = 0
    """Number of the event at that worker, to detect duplicates."""


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """A query for events."""

    most: int = MAX_EVENTS
    """Maximum number of events; the newest are returned."""
    pool: str = ""
    device: str = ""
    since: float = 0.0
    """Seconds since the epoch."""
    after: int = 0
    """Only events with a higher number."""


def select_events(events: Iterable[Event], query: Query) -> tuple[Event, ...]:
    """Return the requested events, in the order of their records; names may be shortened.

    Events of the whole node (a restart of the kubelet, a reload) are included in the reply for a
    pool, not in that for a device.
    """
    found = [event for event in events if _is_meant(event, query)]
    return tuple(found[-query.most :]) if query.most > 0 else ()


def limit_text(text: str) -> str:
    """Return a text, cut to the maximum length."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _is_meant(event: Event, query: Query) -> bool:
    if event.number <= query.after or event.at < query.since:
        return False
    if query.pool and event.pool and not matches_name(event.pool, query.pool):
        return False
    return not query.device or matches_name(event.device, query.device, sign=":")


def matches_name(name: str, wanted: str, *, sign: str = "/") -> bool:
    """Return True if ``wanted`` is the name, or its part behind the first ``sign``."""
    return wanted in (name, name.partition(sign)[2])

"""Queries for events."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_worker.contract.events import Event

MAX_EVENTS: Final = 4096
"""Maximum number of events in a result."""


class Query(msgspec.Struct, frozen=True):
    """A query for events."""

    most: int = MAX_EVENTS
    """Maximum number of events; the newest are returned."""
    pool: str = ""
    device: str = ""
    since: float = 0.0
    """Seconds since the epoch."""


def select_events(events: Iterable[Event], query: Query) -> tuple[Event, ...]:
    """Return the requested events, by time; names may be shortened.

    Events of the whole node (a restart of the kubelet, a reload) are included in the result for a
    pool, not in that for a device.
    """
    found = sorted((one for one in events if _is_meant(one, query)), key=lambda one: one.at)
    return tuple(found[-query.most :]) if query.most > 0 else ()


def _is_meant(event: Event, query: Query) -> bool:
    if event.at < query.since:
        return False
    if query.pool and event.pool and not matches_name(event.pool, query.pool):
        return False
    return not query.device or matches_name(event.device, query.device, sign=":")


def matches_name(name: str, wanted: str, *, sign: str = "/") -> bool:
    """Return True if ``wanted`` is the name, or its part behind the first ``sign``."""
    return wanted in (name, name.partition(sign)[2])

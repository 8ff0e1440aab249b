"""Occurrences: transitions from the files of events that a cluster has to know."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.events.reasons import EventReason
from rbln_worker.contract.events import Event, Kind
from rbln_worker.contract.problem import Code

FLAPS: Final = 3
"""The number of failures of a device within FLAP_S that counts as flapping."""
FLAP_S: Final = 600.0
MAX_AGE_S: Final = 3600.0
"""Age beyond which an occurrence is ignored: the API server deletes Events after an hour."""

_REASONS: Final[Mapping[tuple[Kind, str], EventReason]] = {
    ("device", "Unhealthy"): EventReason.DEVICE_UNHEALTHY,
    ("device", "Healthy"): EventReason.DEVICE_HEALTHY,
    ("device", "Unknown"): EventReason.DEVICE_NOT_ANSWERING,
    ("device", "left"): EventReason.DEVICE_REMOVED,
    ("worker", "died"): EventReason.POOL_WORKER_RESTARTED,
    ("worker", "not started"): EventReason.POOL_WORKER_RESTARTED,
    ("pool", "invalid"): EventReason.POOL_INVALID,
    ("reload", "refused"): EventReason.CONFIGURATION_REFUSED,
    ("reload", "done"): EventReason.CONFIGURATION_APPLIED,
}
PROBLEM_REASONS: Final[Mapping[Code, EventReason]] = {
    Code.FOREIGN_EXPORTER: EventReason.FOREIGN_EXPORTER,
}
"""Problems that no file of events has, by their code: an examination of the node finds them."""


class Occurrence(msgspec.Struct, frozen=True):
    """One transition that a cluster has to know."""

    at: float
    """Seconds since the epoch."""
    reason: EventReason
    pool: str = ""
    device: str = ""
    source: str = ""
    text: str = ""


class OccurrenceGroup(msgspec.Struct, frozen=True):
    """Occurrences of one cause: devices of a pool with the same reason and source."""

    reason: EventReason
    pool: str
    source: str
    members: tuple[Occurrence, ...]
    """Sorted by device; one of each."""

    @property
    def first_at(self) -> float:
        """Time of the first one (seconds since the epoch)."""
        return min(one.at for one in self.members)

    @property
    def last_at(self) -> float:
        """Time of the last one."""
        return max(one.at for one in self.members)


class FlapHistory(msgspec.Struct, frozen=True):
    """Times of the latest failures of each device, by pool and device."""

    failures: Mapping[str, tuple[float, ...]] = {}

    def with_failure(self, key: str, at: float) -> "FlapHistory":
        """Return the history after a failure; what is older than FLAP_S is forgotten.

        So is a time that is as far ahead: the clock was set back.
        """
        kept = {
            name: recent
            for name, times in self.failures.items()
            if (recent := tuple(one for one in times if abs(at - one) < FLAP_S))
        }
        kept[key] = (*kept.get(key, ()), at)[-FLAPS:]
        return FlapHistory(kept)

    def is_flapping(self, key: str) -> bool:
        """Return True if the device has failed FLAPS times within FLAP_S."""
        return len(self.failures.get(key, ())) >= FLAPS


def find_occurrences(
    events: Iterable[Event], history: FlapHistory, now: float
) -> tuple[tuple[Occurrence, ...], FlapHistory]:
    """Return the occurrences among new events, and the history after them.

    A device that fails again and again has DeviceFlapping from its third failure on.
    """
    occurrences = []
    for event in events:
        reason = _REASONS.get((event.kind, event.what))
        if reason is None or now - event.at > MAX_AGE_S:
            continue
        if reason is EventReason.DEVICE_UNHEALTHY:
            key = f"{event.pool} {event.device}"
            history = history.with_failure(key, event.at)
            if history.is_flapping(key):
                reason = EventReason.DEVICE_FLAPPING
        occurrences.append(
            Occurrence(event.at, reason, event.pool, event.device, event.source, event.why)
        )
    return tuple(occurrences), history


def group_occurrences(occurrences: Iterable[Occurrence]) -> tuple[OccurrenceGroup, ...]:
    """Return the groups of one batch, in the order of their first members.

    A flapping device is a group of its own. A device whose reason repeats within a batch is in as
    many groups, so that each occurrence counts.
    """
    groups: dict[tuple[str, ...], dict[str, Occurrence]] = {}
    repeats: Counter[tuple[str, ...]] = Counter()
    for one in sorted(occurrences, key=lambda one: one.at):
        key: tuple[str, ...] = (one.reason, one.pool, one.source)
        if one.reason.series_by != "device":
            key = (*key, one.text)
        elif one.reason is EventReason.DEVICE_FLAPPING:
            key = (*key, one.device)
        repeats[*key, one.device] += 1
        groups.setdefault((*key, str(repeats[*key, one.device])), {})[one.device] = one
    return tuple(
        OccurrenceGroup(
            next(iter(members.values())).reason,
            *(key[1], key[2], tuple(members[name] for name in sorted(members))),
        )
        for key, members in groups.items()
    )

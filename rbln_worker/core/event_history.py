"""A worker's event history: numbered transitions, limited in number."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import MAX_REASON_LENGTH, Transition, Word
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.core.health.health_record import NOT_CHECKED

REGISTERED: Final[Word] = "registered"
UNREGISTERED: Final[Word] = "unregistered"

MAX_KEPT: Final = 512
"""Transitions kept in addition to one for each device. A supervisor is away for seconds."""


class EventHistory(msgspec.Struct, frozen=True):
    """The transitions that are kept, the oldest first."""

    newest: int = 0
    """The number of the last transition."""
    kept: tuple[Transition, ...] = ()


def append_transitions(
    memory: EventHistory, happened: Iterable[Transition], *, devices: int
) -> EventHistory:
    """Return the history with new transitions, which get their numbers here.

    Args:
        memory: the history before.
        happened: the new transitions, in order.
        devices: the number of the pool's devices: a start adds a transition for each.
    """
    numbered = tuple(
        msgspec.structs.replace(one, number=memory.newest + index)
        for index, one in enumerate(happened, 1)
    )
    if not numbered:
        return memory
    kept = (*memory.kept, *numbered)[-(MAX_KEPT + devices) :]
    return EventHistory(numbered[-1].number, kept)


def transitions_after(memory: EventHistory, number: int) -> tuple[Transition, ...]:
    """Return the transitions after a number that are still kept."""
    first = memory.newest - len(memory.kept) + 1
    return memory.kept[max(0, number - first + 1) :]


def find_transitions(
    before: Mapping[DeviceId, Verdict],
    after: Mapping[DeviceId, Verdict],
    now: float,
    begun_with: frozenset[DeviceId],
) -> Iterator[Transition]:
    """Return the transitions of devices between two sets of verdicts, by device.

    A suspicion and a probation are no transitions: the state for the kubelet has not changed, and
    the transition that follows has the reason.

    Args:
        before: the earlier verdicts.
        after: the later verdicts.
        now: seconds since the epoch.
        begun_with: the devices of the worker's first verdicts, whose first state may be known.
    """
    for device in sorted(before.keys() | after.keys()):
        old, new = before.get(device), after.get(device)
        was = health_event(old)
        if new is None:
            if was is not None:
                yield Transition(0, now, "left", device)
            continue
        told = health_event(new)
        if told is None:
            continue
        other_reason = (
            told == "Unhealthy"
            and old is not None
            and old.phase is new.phase is HealthPhase.UNHEALTHY
            and (old.source, old.reason) != (new.source, new.reason)
        )
        if told != was or other_reason:
            yield Transition(
                0,
                (new.since or now) if told != was else now,
                told,
                device,
                new.source,
                new.reason[:MAX_REASON_LENGTH],
                first=was is None and device in begun_with,
            )


def health_event(verdict: Verdict | None) -> Word | None:
    """Return the event of a verdict; None before the first health check."""
    if verdict is None or verdict.reason == NOT_CHECKED:
        return None
    if verdict.phase is HealthPhase.UNKNOWN:
        return "Unknown"
    return "Healthy" if verdict.healthy else "Unhealthy"

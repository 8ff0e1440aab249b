"""A worker's memory of what happened: transitions that people ask about, numbered and bounded."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.history import REASON_MOST, Happening, Word
from rbln_worker.core.health.standing import NOT_LOOKED_AT

REGISTERED: Final[Word] = "registered"
UNREGISTERED: Final[Word] = "unregistered"

KEPT_MOST: Final = 512
"""Happenings that are kept beside one for each device. A supervisor is away for seconds."""


class Memory(msgspec.Struct, frozen=True):
    """What is remembered, the oldest first."""

    newest: int = 0
    """The number of the last happening."""
    kept: tuple[Happening, ...] = ()


def remember(memory: Memory, happened: Iterable[Happening], *, devices: int) -> Memory:
    """The memory with more in it; what comes gets its numbers here.

    Args:
        memory: of before.
        happened: in their order.
        devices: how many the pool has: a start says something of each.
    """
    numbered = tuple(
        msgspec.structs.replace(one, number=memory.newest + index)
        for index, one in enumerate(happened, 1)
    )
    if not numbered:
        return memory
    kept = (*memory.kept, *numbered)[-(KEPT_MOST + devices) :]
    return Memory(numbered[-1].number, kept)


def after(memory: Memory, number: int) -> tuple[Happening, ...]:
    """What happened after a number and is still kept."""
    first = memory.newest - len(memory.kept) + 1
    return memory.kept[max(0, number - first + 1) :]


def transitions(
    before: Mapping[DeviceId, Verdict],
    after: Mapping[DeviceId, Verdict],
    now: float,
    begun_with: frozenset[DeviceId],
) -> Iterator[Happening]:
    """What happened to devices between two sets of verdicts, by device.

    A suspicion and a probation are no transitions: what the kubelet hears has not changed, and what
    comes of them will say why.

    Args:
        before: the earlier ones.
        after: the later ones.
        now: seconds since the epoch.
        begun_with: the devices of the worker's first verdicts, of which the first word is no news.
    """
    for device in sorted(before.keys() | after.keys()):
        old, new = before.get(device), after.get(device)
        was = word(old)
        if new is None:
            if was is not None:
                yield Happening(0, now, "left", device)
            continue
        told = word(new)
        if told is None:
            continue
        other_reason = (
            told == "Unhealthy"
            and old is not None
            and old.phase is new.phase is HealthPhase.UNHEALTHY
            and (old.source, old.reason) != (new.source, new.reason)
        )
        if told != was or other_reason:
            yield Happening(
                0,
                (new.since or now) if told != was else now,
                told,
                device,
                new.source,
                new.reason[:REASON_MOST],
                first=was is None and device in begun_with,
            )


def word(verdict: Verdict | None) -> Word | None:
    """What a verdict comes to; None where it says nothing yet."""
    if verdict is None or verdict.reason == NOT_LOOKED_AT:
        return None
    if verdict.phase is HealthPhase.UNKNOWN:
        return "Unknown"
    return "Healthy" if verdict.healthy else "Unhealthy"

"""What a worker has counted. Counters go on where the pool's worker before it stopped."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

BOUNDS_S: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Upper bounds (inclusive) of a histogram's buckets, in seconds; the last bucket has none."""

METHODS: Final = ("Allocate", "GetPreferredAllocation")
"""Those whose calls are counted."""


class Histogram(msgspec.Struct, frozen=True):
    """How long something took, each time."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    """By bucket, not cumulated."""
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How often it happened."""
        return sum(self.counts)


class Calls(msgspec.Struct, frozen=True):
    """Calls of one method."""

    codes: Mapping[str, int] = {}
    """How often each gRPC status code was the answer."""
    took: Histogram = Histogram()
    """From the request, read, to the answer, made: without gRPC's own share."""


class Figures(msgspec.Struct, frozen=True, tag="figures"):
    """All that was counted of a pool, over the lives of its workers.

    Said with a beat, where something has changed. What a worker that is killed had counted since
    its last beat is lost.
    """

    calls: Mapping[str, Calls] = {}
    """By method."""
    allocated: int = 0
    """Devices that were given out, each time that they were."""
    messages: int = 0
    """ListAndWatch messages, on all streams together."""
    opened: int = 0
    """ListAndWatch streams that were opened …"""
    streams: int = 0
    """… and those that are open now."""
    registrations: int = 0
    """How often the kubelet came to list the pool."""
    refusals: int = 0
    """Registrations that failed."""
    to_register: Histogram = Histogram()
    """From the moment when the pool was not listed, and something there to register with, to the
    kubelet's stream."""
    looks: Histogram = Histogram()
    """Looks at single devices. Where nothing else has changed, they are said with every 8th beat:
    a message that nobody waits for costs more than it says."""
    hung: int = 0
    """Looks at a device that took longer than a thread waits for others (prober.LATE_S) …"""
    hanging: int = 0
    """… and those that do now."""
    simple_preferences: int = 0
    """Preferred allocations that were not searched for, because there was too much to try …"""
    failed_preferences: int = 0
    """… and those without a preference, because choosing failed."""
    failed_writes: int = 0
    """Files for container runtimes and CNI plugins that could not be written."""
    restored_specs: int = 0
    """CDI specs that somebody else removed, and that were written again."""


def observed(histogram: Histogram, seconds: float) -> Histogram:
    """The histogram after it took so long once more."""
    counts = list(histogram.counts)
    counts[bisect_left(BOUNDS_S, seconds)] += 1
    return Histogram(tuple(counts), histogram.sum_s + seconds)


def differ(before: Figures | None, after: Figures) -> bool:
    """Whether more has happened than looks at devices, which go on whatever happens."""
    if before is None:
        return True
    looks = Histogram()
    replace = msgspec.structs.replace
    return replace(before, looks=looks) != replace(after, looks=looks)


def inherited(figures: Figures) -> Figures:
    """What the next life of a worker begins with: all but what was true of a moment only."""
    return msgspec.structs.replace(figures, streams=0, hanging=0)

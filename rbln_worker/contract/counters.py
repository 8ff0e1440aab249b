"""Counters of a pool. A new worker continues those of its predecessor."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

BOUNDS_S: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Upper bounds (inclusive) of a histogram's buckets, in seconds; the last bucket has no bound."""

METHODS: Final = ("Allocate", "GetPreferredAllocation")
"""Methods whose calls are counted."""


class Histogram(msgspec.Struct, frozen=True):
    """A distribution of durations."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    """Observations by bucket, not cumulative."""
    sum_s: float = 0.0

    @property
    def total_count(self) -> int:
        """The number of observations."""
        return sum(self.counts)


class Calls(msgspec.Struct, frozen=True):
    """Calls of one method."""

    codes: Mapping[str, int] = {}
    """Number of calls by gRPC status code."""
    took: Histogram = Histogram()
    """Time from the parsed request to the finished answer, without gRPC's share."""


class WorkerCounters(msgspec.Struct, frozen=True, tag="figures"):
    """All counters of a pool, over the lives of its workers.

    Sent with a heartbeat if a counter has changed. The counts of a killed worker since its last
    heartbeat are lost.
    """

    calls: Mapping[str, Calls] = {}
    """Calls by method."""
    allocated: int = 0
    """Devices allocated, counted at each allocation."""
    messages: int = 0
    """ListAndWatch messages on all streams."""
    opened: int = 0
    """ListAndWatch streams opened."""
    streams: int = 0
    """ListAndWatch streams that are open now."""
    registrations: int = 0
    """Number of times that the kubelet began to list the pool."""
    refusals: int = 0
    """Registrations that failed."""
    to_register: Histogram = Histogram()
    """Time to the kubelet's stream, from when the pool was not listed and could register."""
    checks: Histogram = Histogram()
    """Health checks of single devices. If only these have changed, they are sent with every 8th
    heartbeat, to save messages."""
    hung: int = 0
    """Health checks of a device that took longer than probe_threads.HANG_AFTER_S."""
    hanging: int = 0
    """Health checks that hang now (longer than probe_threads.HANG_AFTER_S)."""
    greedy_preferences: int = 0
    """Preferred allocations without a full search, because there were too many combinations."""
    failed_preferences: int = 0
    """Preferred allocations without a preference, because choosing failed."""
    failed_writes: int = 0
    """Failed writes of files for container runtimes and CNI plugins."""
    restored_specs: int = 0
    """CDI specs that another program removed, and that were written again."""


def with_observation(histogram: Histogram, seconds: float) -> Histogram:
    """Return the histogram with one more observation."""
    counts = list(histogram.counts)
    counts[bisect_left(BOUNDS_S, seconds)] += 1
    return Histogram(tuple(counts), histogram.sum_s + seconds)


def counters_differ(before: WorkerCounters | None, after: WorkerCounters) -> bool:
    """Return True if other counters than those of health checks, which always run, have changed."""
    if before is None:
        return True
    checks = Histogram()
    replace = msgspec.structs.replace
    return replace(before, checks=checks) != replace(after, checks=checks)


def carried_over(figures: WorkerCounters) -> WorkerCounters:
    """Return the counters for the next worker of the pool: all but the current values."""
    return msgspec.structs.replace(figures, streams=0, hanging=0)

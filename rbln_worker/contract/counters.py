"""Counters of a pool. A new worker continues those of its predecessor."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

BOUNDS_S: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Upper bounds (inclusive) of a histogram's buckets, in seconds; the last bucket has no bound."""

METHODS: Final = ("Allocate", "GetPreferredAllocation")
"""Methods whose calls are counted."""
CLAIM_METHODS: Final = ("NodePrepareResources", "NodeUnprepareResources")
"""The same of a pool that is exported by DRA. Each claim of a call counts."""


class Histogram(msgspec.Struct, frozen=True):
    """A distribution of durations."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    """Observations by bucket, not cumulative."""
    sum_s: float = 0.0


class Calls(msgspec.Struct, frozen=True):
    """Calls of one method."""

    codes: Mapping[str, int] = {}
    """Number of calls by gRPC status code; for claims, the cause of a refusal."""
    took: Histogram = Histogram()
    """Time from the parsed request to the finished answer, without gRPC's share."""


class WorkerCounters(msgspec.Struct, tag="figures"):
    """All counters of a pool, over the lives of its workers.

    Sent with a heartbeat if a counter has changed. The counts of a killed worker since its last
    heartbeat are lost. Only a worker changes its own counters; calls can't wait for a message.
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
    """Health checks of single devices."""
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

    dropped_frames: int = 0
    """Frames from the supervisor that could not be decoded."""
    slices: int = 0
    """ResourceSlices of the pool that are published now."""
    slice_writes: int = 0
    """Writes of ResourceSlices that the API server accepted."""
    api_errors: Mapping[str, int] = {}
    """Failed calls of the API server, by HTTP status (0: no answer)."""

    def count_api_error(self, status: int) -> None:
        """Count a failed call of the API server."""
        code = str(status)
        self.api_errors = {**self.api_errors, code: self.api_errors.get(code, 0) + 1}

    def count_call(self, method: str, code: str, seconds: float) -> None:
        """Count a call that was answered with a gRPC status code."""
        earlier = self.calls.get(method, Calls())
        codes = {**earlier.codes, code: earlier.codes.get(code, 0) + 1}
        after = Calls(codes, with_observation(earlier.took, seconds))
        self.calls = {**self.calls, method: after}

    def count_check(self, seconds: float) -> None:
        """Count a health check of a device."""
        self.checks = with_observation(self.checks, seconds)

    def count_registration(self, seconds: float) -> None:
        """Count a registration, and the time from when it was possible to the kubelet's stream."""
        self.registrations += 1
        self.to_register = with_observation(self.to_register, seconds)


def with_observation(histogram: Histogram, seconds: float) -> Histogram:
    """Return the histogram with one more observation."""
    counts = list(histogram.counts)
    counts[bisect_left(BOUNDS_S, seconds)] += 1
    return Histogram(tuple(counts), histogram.sum_s + seconds)


def carried_over(figures: WorkerCounters) -> WorkerCounters:
    """Return the counters for the next worker of the pool: all but the current values."""
    return msgspec.structs.replace(figures, streams=0, hanging=0, slices=0)

"""Mutable counters of a worker, because calls can't wait.

A call costs two additions; once in a heartbeat they become values (contract/counters.py).
"""

from bisect import bisect_left

import msgspec

from rbln_worker.contract.counters import (
    BOUNDS_S,
    METHODS,
    Calls,
    Histogram,
    WorkerCounters,
    carried_over,
)


class MutableHistogram:
    """A mutable histogram."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self, earlier: Histogram) -> None:
        self._counts = list(earlier.counts)
        self._sum_s = earlier.sum_s

    def add(self, seconds: float) -> None:
        """Add one observation."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    @property
    def value(self) -> Histogram:
        """The histogram so far."""
        return Histogram(tuple(self._counts), self._sum_s)


class Counters:
    """The counters of a pool, continued from those of the previous worker."""

    def __init__(self, earlier: WorkerCounters | None = None) -> None:
        self._earlier = before = carried_over(earlier or WorkerCounters())
        calls = {method: before.calls.get(method, Calls()) for method in METHODS}
        self._codes = {method: dict(each.codes) for method, each in calls.items()}
        self._took = {method: MutableHistogram(each.took) for method, each in calls.items()}
        self._checks = MutableHistogram(before.checks)
        self._to_register = MutableHistogram(before.to_register)
        self._registrations = before.registrations
        self.refusals = before.refusals
        self.allocated = before.allocated
        self.messages = before.messages
        self.opened = before.opened
        self.streams = 0
        self.hung = before.hung
        self.greedy_preferences = before.greedy_preferences
        self.failed_preferences = before.failed_preferences
        self.hanging = 0

    def count_call(self, method: str, code: str, seconds: float) -> None:
        """Count a call that was answered with a gRPC status code."""
        codes = self._codes[method]
        codes[code] = codes.get(code, 0) + 1
        self._took[method].add(seconds)

    def count_check(self, seconds: float) -> None:
        """Count a health check of a device."""
        self._checks.add(seconds)

    def count_registration(self, seconds: float) -> None:
        """Count a registration, and the time from when it was possible to the kubelet's stream."""
        self._registrations += 1
        self._to_register.add(seconds)

    def worker_counters(self, *, failed_writes: int = 0, restored_specs: int = 0) -> WorkerCounters:
        """Return the counters so far.

        Args:
            failed_writes: failed writes of this worker.
            restored_specs: restored specs of this worker.
        """
        return msgspec.structs.replace(
            self._earlier,
            calls={
                method: Calls(dict(self._codes[method]), self._took[method].value)
                for method in METHODS
            },
            allocated=self.allocated,
            messages=self.messages,
            opened=self.opened,
            streams=self.streams,
            registrations=self._registrations,
            refusals=self.refusals,
            to_register=self._to_register.value,
            checks=self._checks.value,
            hung=self.hung,
            hanging=self.hanging,
            greedy_preferences=self.greedy_preferences,
            failed_preferences=self.failed_preferences,
            failed_writes=self._earlier.failed_writes + failed_writes,
            restored_specs=self._earlier.restored_specs + restored_specs,
        )

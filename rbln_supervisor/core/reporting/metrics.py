"""The metrics of a node: the reply to Metrics, made of the status and of counters.

A pool's ``WorkerCounters`` are reported by its workers and continue over restarts of workers and
supervisor. All other counters start with the supervisor.
"""

from collections.abc import Mapping

import msgspec

from rbln_supervisor.core.reporting.unavailability import LossCause
from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.counters import Histogram, WorkerCounters


class PoolMetrics(msgspec.Struct, frozen=True):
    """Counters of a pool."""

    figures: WorkerCounters | None = None
    """None if an adopted worker has not reported them yet."""
    restarts: Mapping[str, int] = {}
    """Restarts of its worker after unexpected exits, by cause: ``SIGKILL``, ``exit-70``, ``hang``,
    ``not-started``, ``unknown`` (an adopted worker)."""
    adoptions: int = 0
    """Number of workers adopted from an earlier supervisor."""
    latency: Histogram = Histogram()
    """Time from the first kernel event of a change to the message for the worker."""
    lost: tuple[tuple[LossCause, float], ...] = ()
    """Device-seconds of unavailability by cause."""


class DiscoveryMetrics(msgspec.Struct, frozen=True):
    """Counters of discoveries."""

    took: Histogram = Histogram()
    """Duration from the fork to the end, including failed ones."""
    failed: int = 0
    cpu_s: float = 0.0
    """CPU seconds of their processes."""


class SupervisorMetrics(msgspec.Struct, frozen=True):
    """The status with its counters, and the metrics of discoveries and pools."""

    status: NodeStatus
    discoveries: DiscoveryMetrics
    pools: Mapping[str, PoolMetrics]
    """Configured and valid pools, by the full resource name."""

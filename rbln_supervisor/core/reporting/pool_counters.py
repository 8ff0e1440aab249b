"""The counters of one pool, as the supervisor updates them."""

from collections import Counter

from rbln_supervisor.core.reporting import unavailability
from rbln_supervisor.core.reporting.metrics import PoolMetrics
from rbln_supervisor.core.reporting.unavailability import Unavailability
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import State
from rbln_worker.contract.counters import Histogram, WorkerCounters, with_observation
from rbln_worker.contract.messages import Report


class PoolCounters:
    """The counters of a pool. They start with the supervisor, except for the worker's own."""

    def __init__(self) -> None:
        self.figures: WorkerCounters | None = None
        """The worker's last report of its counters."""
        self.restarts: Counter[str] = Counter()
        self.adoptions = 0
        self._latency = Histogram()
        self._latency_since: float | None = None
        self._unavailability = Unavailability()
        self._last_inputs: tuple[DesiredState | None, State, Report | None] | None = None

    def start_latency(self, since: float | None) -> None:
        """Note the time of a kernel event (monotonic seconds) that the worker does not know yet."""
        if since is not None and self._latency_since is None:
            self._latency_since = since

    def stop_latency(self, now: float) -> None:
        """Note that the worker was sent the change, and record the latency."""
        if self._latency_since is not None:
            self._latency = with_observation(self._latency, now - self._latency_since)
            self._latency_since = None

    def cancel_latency(self) -> None:
        """Cancel a pending latency: the worker has ended; the next one gets a snapshot anyway."""
        self._latency_since = None

    def update_unavailability(
        self, roster: DesiredState | None, state: State, report: Report | None, now: float
    ) -> None:
        """Add the unavailability up to ``now``; from now on these three values apply."""
        # Compared by identity: a loop iteration without a change costs nothing.
        before = self._last_inputs
        if before and before[0] is roster and before[1] is state and before[2] is report:
            return
        self._last_inputs = (roster, state, report)
        self._unavailability = unavailability.advance_unavailability(
            self._unavailability, unavailability.unavailable_devices(roster, state, report), now
        )

    def metrics_until(self, now: float) -> PoolMetrics:
        """Return all counters up to ``now``."""
        self._unavailability = unavailability.advance_unavailability(
            self._unavailability, self._unavailability.devices, now
        )
        return PoolMetrics(
            figures=self.figures,
            restarts=dict(self.restarts),
            adoptions=self.adoptions,
            latency=self._latency,
            lost=tuple(sorted(self._unavailability.seconds.items())),
        )

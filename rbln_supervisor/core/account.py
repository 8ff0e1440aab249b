"""What a supervisor counts of one pool, while it counts."""

from collections import Counter

from rbln_supervisor.core import loss
from rbln_supervisor.core.lifecycle import State
from rbln_supervisor.core.loss import Loss
from rbln_supervisor.core.measures import Lost, PoolMeasures
from rbln_supervisor.core.roster import Roster
from rbln_worker.contract.figures import Figures, Histogram, observed
from rbln_worker.contract.messages import Report


class Account:
    """The counters of a pool. They begin with the supervisor, but for the worker's figures."""

    def __init__(self) -> None:
        self.figures: Figures | None = None
        """As the pool's worker last said them."""
        self.restarts: Counter[str] = Counter()
        self.adoptions = 0
        self._latency = Histogram()
        self._owed_since: float | None = None
        self._loss = Loss()
        self._weighed: tuple[Roster | None, State, Report | None] | None = None

    def owe(self, since: float | None) -> None:
        """The worker has to be told of what the kernel said then (monotonic seconds), if it did."""
        if since is not None and self._owed_since is None:
            self._owed_since = since

    def told(self, now: float) -> None:
        """The worker was told."""
        if self._owed_since is not None:
            self._latency = observed(self._latency, now - self._owed_since)
            self._owed_since = None

    def forgive(self) -> None:
        """The worker that had to be told is no more; the next one is told all anyway."""
        self._owed_since = None

    def weigh(self, roster: Roster | None, state: State, report: Report | None, now: float) -> None:
        """Count what was lost until now; from now on it is as these three say."""
        # Compared by identity: a turn of the loop that changed nothing costs nothing.
        before = self._weighed
        if before and before[0] is roster and before[1] is state and before[2] is report:
            return
        self._weighed = (roster, state, report)
        self._loss = loss.advance(self._loss, loss.lost(roster, state, report), now)

    def measures(self, now: float) -> PoolMeasures:
        """All so far."""
        self._loss = loss.advance(self._loss, self._loss.devices, now)
        return PoolMeasures(
            figures=self.figures,
            restarts=dict(self.restarts),
            adoptions=self.adoptions,
            latency=self._latency,
            lost=tuple(
                Lost(why.cause, why.source, seconds)
                for why, seconds in sorted(self._loss.seconds.items())
            ),
        )

"""Has the node looked at, when asked and now and then, and puts into force what comes of it.

A configuration comes into force together with a look that was made for it, or not at all.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic

from rbln_supervisor import node
from rbln_supervisor.core import inquiries
from rbln_supervisor.core.commands import DryRun, Planned, Refused, Reply, Rescanned
from rbln_supervisor.core.looks import Batch, Looks, Trial
from rbln_supervisor.core.measures import LookMeasures
from rbln_supervisor.core.partial import concerned
from rbln_supervisor.node import Look
from rbln_supervisor.options import Options
from rbln_supervisor.pools import Pools
from rbln_supervisor.reloads import Reloads
from rbln_supervisor.scout import Pods, Scout
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.figures import observed
from rbln_worker.contract.holding import Held

_LEAVING = Refused(("the supervisor is leaving",))
_CROWDED = Refused(("too many wait for a look at the node already, ask again later",))

log = logging.getLogger(__name__)


class Lookout:
    """Requests that take a look at the node, and the looks that nobody asked for."""

    def __init__(
        self,
        options: Options,
        pools: Pools,
        reloads: Reloads,
        answer: Callable[[bytes, Reply], None],
    ) -> None:
        """``answer`` sends an answer to a request that was not answered at once."""
        self._options = options
        self._pools = pools
        self._reloads = reloads
        self._answer = answer
        self._scout = Scout(options.host_root)
        self._looks = Looks().ask(None)
        self._began = 0.0
        self._leaving = False
        self.measures = LookMeasures()

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each: why the last reload was refused, and what is wrong with the node."""
        return (*self._reloads.problems, *self._pools.problems)

    @property
    def is_config_refused(self) -> bool:
        """The configuration file is not what is served."""
        return self._reloads.is_refused

    @property
    def counts(self) -> Counter[str]:
        """What happened so far."""
        return self._reloads.counts

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that turn readable when ``turn`` has something to do."""
        return (*self._scout.descriptors, *self._reloads.descriptors)

    @property
    def due(self) -> float:
        """When ``turn`` has to be called at the latest (monotonic seconds)."""
        if self._leaving:
            return math.inf
        if self._scout.deadline is not None:
            return min(self._scout.deadline, self._reloads.due)
        look_at = 0.0 if self._looks.is_one_wanted else self._pools.due
        return min(look_at, self._reloads.due)

    @property
    def is_reloading(self) -> bool:
        """A configuration is on its way into force, or on trial."""
        return self._looks.is_reloading

    @property
    def cost_s(self) -> float:
        """Seconds of a core that the last look took."""
        return self._scout.cost_s

    def look(self, named: Iterable[Bdf | None], heard: float) -> None:
        """Have the node looked at: something happened to these functions (None: to any).

        ``heard``: when the kernel first said so (monotonic seconds).
        """
        known = self._pools.node
        if not self._leaving:
            only = None if known is None else concerned(named, known)
            self._looks = self._looks.ask(None, only=only, heard=heard)

    def rescan(self, asker: bytes) -> Reply | None:
        """A look for its own sake; None: answered later."""
        if no := self._no(asker):
            return no
        self._looks = self._looks.ask(asker)
        return None

    def reload(self, asker: bytes | None, *, force: bool = False) -> Reply | None:
        """Read the configuration file, and look at the node for it; None: answered later."""
        if no := self._no(asker):
            return no
        wanted = self._reloads.read()
        if isinstance(wanted, Refused):
            return wanted
        self._looks = self._looks.ask_for(wanted, asker, force=force)
        return None

    def try_out(self, asker: bytes, request: DryRun) -> Reply | None:
        """Look at the node as a configuration would, and tell the effect; None: answered later."""
        if no := self._no(asker):
            return no
        wanted = inquiries.tried(request, self._options.resource_prefix)
        if isinstance(wanted, Planned):
            return wanted
        self._looks = self._looks.ask_about(Trial(wanted, asker))
        return None

    def turn(self) -> None:
        """Take in a look that has ended, and begin the next one where one is due."""
        now = monotonic()
        look = self._scout.turn(now)
        if self._leaving:
            return
        if wanted := self._reloads.noticed(now):
            self._looks = self._looks.ask_for(wanted, None)
        if look is not None and self._looks.running is not None:
            self._ended(look)
        elif look is not None:  # the one before can't be ended, so that none can begin
            self._pools.take_in(look)
            while self._looks.is_one_wanted:
                self._looks = self._looks.begin()
                self._ended(look)
        self._settle(now)
        if self._scout.is_busy:
            return
        if not self._looks.is_one_wanted and now >= self._pools.due:
            self._looks = self._looks.ask(None)
        if self._looks.is_one_wanted:
            self._begin()

    def leave(self) -> None:
        """No more looks; whoever waits for one hears that."""
        self._leaving = True
        self._scout.end()
        self._reloads.close()
        for asker in self._looks.askers:
            self._answer(asker, _LEAVING)
        self._looks = Looks()

    def _no(self, asker: bytes | None) -> Refused | None:
        if self._leaving:  # whatever is found would ask for workers again
            return _LEAVING
        return _CROWDED if asker is not None and self._looks.is_full else None

    def _begin(self) -> None:
        self._began = monotonic()
        self._looks = self._looks.begin()
        look = self._looks.running
        served = self._pools.config
        wanted = look.config if look else None
        only = look.only if isinstance(look, Batch) else None
        # What is served has to be found, too, and what may come back: who asked for less would see
        # devices as gone that are only not looked for.
        configs = (served, wanted, self._reloads.former)
        pools = [pool for each in configs if each for pool in each.pools]
        allowed = self._options.allow_default_route
        self._pools.look_begins()
        asked = Pods(
            self._options.kubelet_dirs.pod_resources,
            frozenset(pool.spec.name for pool in served.pools),
        )
        try:
            self._scout.begin(
                node.needs(pools, allow_default_route=allowed, only=only),
                asked if wanted else None,
            )
        except OSError as error:
            self._ended(Look(failed=f"the node can't be looked at: {error.strerror}"))

    def _ended(self, look: Look) -> None:
        before = self.measures
        self.measures = LookMeasures(
            took=observed(before.took, monotonic() - self._began),
            failed=before.failed + (look.failed is not None),
            cpu_s=self._scout.costs_s,
        )
        self._looks, ended = self._looks.end()
        match ended:
            case Trial():
                self._answer(ended.asker, self._tried(ended, look))
            case Batch():
                self._take_in(ended, look)
            case None:
                pass  # nobody waits for it any more

    def _tried(self, trial: Trial, look: Look) -> Reply:
        if look.failed is not None:
            return Refused((look.failed,))
        pools = self._pools
        return inquiries.planned(
            trial.config,
            pools.config,
            pools.known(look.node),
            pools.rosters,
            look.held or Held(),
        )

    def _take_in(self, batch: Batch, look: Look) -> None:
        refused = None
        if batch.config is not None:
            refused = self._reloads.begin(batch.config, look, force=batch.force)
        if self._pools.node is None and look.failed is None:
            log.info("ready to serve", extra={"pools": len(self._pools.config.pools)})
        touched = self._pools.take_in(look)
        for name in touched:
            self._pools.keepers[name].account.owe(batch.heard)
        if refused is not None:
            for asker in batch.reloads:
                self._answer(asker, refused)
        elif batch.config is not None:
            self._looks = self._looks.hold(batch.reloads)
        if batch.rescans and look.failed is None:  # who asks wants to know how devices are, too
            self._pools.nudge({None})
        for asker in batch.rescans:
            self._answer(asker, Rescanned(self._pools.functions, touched, self._pools.problems))

    def _settle(self, now: float) -> None:
        """Tell what came of a configuration that was on trial."""
        outcome = self._reloads.outcome(now)
        if outcome is not None:
            self._looks, askers = self._looks.release()
            for asker in askers:
                self._answer(asker, outcome)

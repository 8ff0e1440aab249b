"""The discovery scheduler: starts discoveries on request and at intervals, and applies the results.

A configuration becomes active together with a discovery that was made for it, or not at all.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic

from rbln_supervisor.config.reload import ConfigReloader
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Reply,
    RescanReply,
)
from rbln_supervisor.core.discovery.partial import affected_functions
from rbln_supervisor.core.discovery.queue import DiscoveryQueue, DiscoveryRequest, DryRunRequest
from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.core.reporting.metrics import DiscoveryMetrics
from rbln_supervisor.discovery import scan
from rbln_supervisor.discovery.process import DiscoveryProcess, PodResourcesQuery
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.counters import with_observation
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.pod_resources import ResourceHolders

_LEAVING = ErrorReply(("the supervisor is leaving",))
_CROWDED = ErrorReply(("too many wait for a look at the node already, ask again later",))

log = logging.getLogger(__name__)


class DiscoveryScheduler:
    """Requests that need a discovery, and the periodic discoveries."""

    def __init__(
        self,
        options: Options,
        pools: Pools,
        reloads: ConfigReloader,
        answer: Callable[[bytes, Reply], None],
    ) -> None:
        """``answer`` sends a reply to a request that was not answered at once."""
        self._options = options
        self._pools = pools
        self._reloads = reloads
        self._answer = answer
        self._scout = DiscoveryProcess(options.host_root)
        self._looks = DiscoveryQueue().ask(None)
        self._began = 0.0
        self._leaving = False
        self.measures = DiscoveryMetrics()

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each: reasons why the last reload was refused, and problems of the node."""
        return (*self._reloads.problems, *self._pools.problems)

    @property
    def is_config_refused(self) -> bool:
        """True if the configuration file is not the one that is served."""
        return self._reloads.is_refused

    @property
    def counts(self) -> Counter[str]:
        """Counters of reloads."""
        return self._reloads.counts

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``turn`` has work."""
        return (*self._scout.descriptors, *self._reloads.descriptors)

    @property
    def due(self) -> float:
        """Latest time of the next call of ``turn`` (monotonic seconds)."""
        if self._leaving:
            return math.inf
        if self._scout.deadline is not None:
            return min(self._scout.deadline, self._reloads.due)
        look_at = 0.0 if self._looks.is_one_wanted else self._pools.due
        return min(look_at, self._reloads.due)

    @property
    def is_reloading(self) -> bool:
        """True while a reload waits for its discovery or is on trial."""
        return self._looks.is_reloading

    @property
    def cost_s(self) -> float:
        """CPU seconds of the last discovery."""
        return self._scout.cost_s

    def look(self, named: Iterable[Bdf | None], heard: float) -> None:
        """Request a discovery of functions that had an event (None: of any).

        ``heard``: time of the first kernel event (monotonic seconds).
        """
        known = self._pools.node
        if not self._leaving:
            only = None if known is None else affected_functions(named, known)
            self._looks = self._looks.ask(None, only=only, heard=heard)

    def rescan(self, asker: bytes) -> Reply | None:
        """Request a discovery for a client; None: the reply follows later."""
        if no := self._no(asker):
            return no
        self._looks = self._looks.ask(asker)
        return None

    def reload(self, asker: bytes | None, *, force: bool = False) -> Reply | None:
        """Read the configuration file, and request a discovery for it; None: the reply follows."""
        if no := self._no(asker):
            return no
        wanted = self._reloads.read()
        if isinstance(wanted, ErrorReply):
            return wanted
        self._looks = self._looks.ask_for(wanted, asker, force=force)
        return None

    def try_out(self, asker: bytes, request: DryRun) -> Reply | None:
        """Request a discovery for a dry run of a configuration; None: the reply follows later."""
        if no := self._no(asker):
            return no
        wanted = queries.parse_dry_run(request, self._options.resource_prefix)
        if isinstance(wanted, DryRunReply):
            return wanted
        self._looks = self._looks.ask_about(DryRunRequest(wanted, asker))
        return None

    def turn(self) -> None:
        """Handle a discovery that has ended, and start the next one if it is due."""
        now = monotonic()
        look = self._scout.turn(now)
        if self._leaving:
            return
        if wanted := self._reloads.noticed(now):
            self._looks = self._looks.ask_for(wanted, None)
        if look is not None and self._looks.running is not None:
            self._ended(look)
        elif look is not None:  # the previous process can't be killed, so the next can't start
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
        """Stop discoveries, and answer the waiting requests."""
        self._leaving = True
        self._scout.end()
        self._reloads.close()
        for asker in self._looks.askers:
            self._answer(asker, _LEAVING)
        self._looks = DiscoveryQueue()

    def _no(self, asker: bytes | None) -> ErrorReply | None:
        if self._leaving:  # a result would request workers again
            return _LEAVING
        return _CROWDED if asker is not None and self._looks.is_full else None

    def _begin(self) -> None:
        self._began = monotonic()
        self._looks = self._looks.begin()
        look = self._looks.running
        served = self._pools.config
        wanted = look.config if look else None
        only = look.only if isinstance(look, DiscoveryRequest) else None
        # The discovery also covers the served configuration and the one of a roll-back: with less,
        # devices that are only not read would seem to be gone.
        configs = (served, wanted, self._reloads.former)
        pools = [pool for each in configs if each for pool in each.pools]
        allowed = self._options.allow_default_route
        self._pools.look_begins()
        asked = PodResourcesQuery(
            self._options.kubelet_dirs.pod_resources,
            frozenset(pool.spec.name for pool in served.pools),
        )
        try:
            self._scout.begin(
                scan.required_reads(pools, allow_default_route=allowed, only=only),
                asked if wanted else None,
            )
        except OSError as error:
            self._ended(DiscoveryResult(failed=f"the node can't be looked at: {error.strerror}"))

    def _ended(self, look: DiscoveryResult) -> None:
        before = self.measures
        self.measures = DiscoveryMetrics(
            took=with_observation(before.took, monotonic() - self._began),
            failed=before.failed + (look.failed is not None),
            cpu_s=self._scout.costs_s,
        )
        self._looks, ended = self._looks.end()
        match ended:
            case DryRunRequest():
                self._answer(ended.asker, self._tried(ended, look))
            case DiscoveryRequest():
                self._take_in(ended, look)
            case None:
                pass  # no request waits for it any more

    def _tried(self, trial: DryRunRequest, look: DiscoveryResult) -> Reply:
        if look.failed is not None:
            return ErrorReply((look.failed,))
        pools = self._pools
        return queries.plan_reply(
            trial.config,
            pools.config,
            pools.known(look.node),
            pools.rosters,
            look.held or ResourceHolders(),
        )

    def _take_in(self, batch: DiscoveryRequest, look: DiscoveryResult) -> None:
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
        if batch.rescans and look.failed is None:  # the reply covers health, too
            self._pools.nudge({None})
        for asker in batch.rescans:
            self._answer(asker, RescanReply(self._pools.functions, touched, self._pools.problems))

    def _settle(self, now: float) -> None:
        """Reply to the requesters of a configuration whose trial has ended."""
        outcome = self._reloads.outcome(now)
        if outcome is not None:
            self._looks, askers = self._looks.release()
            for asker in askers:
                self._answer(asker, outcome)

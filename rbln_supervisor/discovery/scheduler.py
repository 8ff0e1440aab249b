"""The discovery scheduler: starts discoveries on request and at intervals, and applies the results.

A configuration becomes active together with a discovery that was made for it, or not at all.
"""

import logging
import math
from collections.abc import Callable, Iterable
from time import monotonic

from rbln_supervisor.config.reload import ConfigReloader
from rbln_supervisor.core.control import protocol, queries
from rbln_supervisor.core.control.protocol import DryRun, DryRunReply, ErrorReply, Reply
from rbln_supervisor.core.discovery.partial import affected_functions
from rbln_supervisor.core.discovery.queue import DiscoveryQueue, DiscoveryRequest, DryRunRequest
from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.core.reporting.metrics import DiscoveryMetrics
from rbln_supervisor.discovery import scan
from rbln_supervisor.discovery.process import DiscoveryProcess
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.counters import with_observation
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.pod_resources import ResourceHolders
from rbln_worker.contract.problem import Problem

_CROWDED = ErrorReply(("too many requests wait for a discovery; try again later",))

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
        self.reloader = reloads
        self._answer = answer
        self.process = DiscoveryProcess(options.host_root, options.kubelet_dirs.pod_resources)
        self.queue = DiscoveryQueue().request_discovery(None)
        self._started_at = 0.0
        self._leaving = False
        self.measures = DiscoveryMetrics()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Reasons why the last reload was refused, and problems of the node."""
        return (*self.reloader.problems, *self._pools.facts.problems)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``advance_discoveries`` has work."""
        return (*self.process.descriptors, *self.reloader.descriptors)

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``advance_discoveries`` (monotonic seconds)."""
        if self._leaving:
            return math.inf
        if self.process.is_busy:
            return min(self.process.next_deadline, self.reloader.next_deadline)
        discovery_at = 0.0 if self.queue.is_discovery_requested else self._pools.next_discovery_at
        return min(discovery_at, self.reloader.next_deadline)

    def discover_functions(self, named: Iterable[Bdf | None], event_at: float) -> None:
        """Request a discovery of functions that had an event (None: of any).

        ``event_at``: time of the first kernel event (monotonic seconds).
        """
        known = self._pools.facts.inventory
        if not self._leaving:
            only = None if known is None else affected_functions(named, known)
            self.queue = self.queue.request_discovery(None, only=only, event_at=event_at)

    def request_rescan(self, requester: bytes) -> Reply | None:
        """Request a discovery for a client; None: the reply follows later."""
        if refusal := self._refusal(requester):
            return refusal
        self.queue = self.queue.request_discovery(requester)
        return None

    def request_reload(self, requester: bytes | None, *, force: bool = False) -> Reply | None:
        """Read the configuration file, and request a discovery for it; None: the reply follows."""
        if refusal := self._refusal(requester):
            return refusal
        wanted = self.reloader.read_config()
        if isinstance(wanted, ErrorReply):
            return wanted
        self.queue = self.queue.request_reload(wanted, requester, force=force)
        return None

    def request_dry_run(self, requester: bytes, request: DryRun) -> Reply | None:
        """Request a discovery for a dry run of a configuration; None: the reply follows later."""
        if refusal := self._refusal(requester):
            return refusal
        wanted = queries.parse_dry_run(request, self._options.resource_prefix)
        if isinstance(wanted, DryRunReply):
            return wanted
        self.queue = self.queue.request_dry_run(DryRunRequest(wanted, requester))
        return None

    def advance_discoveries(self) -> None:
        """Handle a discovery that has ended, and start the next one if it is due."""
        now = monotonic()
        result = self.process.poll_result(now)
        if self._leaving:
            return
        if wanted := self.reloader.poll_file(now):
            self.queue = self.queue.request_reload(wanted, None)
        if result is not None and self.queue.running is not None:
            self._finish_discovery(result)
        elif result is not None:  # the previous process can't be killed, so the next can't start
            self._pools.apply_discovery(result)
            while self.queue.is_discovery_requested:
                self.queue = self.queue.start_next()
                self._finish_discovery(result)
        if self.process.is_busy:
            return
        if not self.queue.is_discovery_requested and now >= self._pools.next_discovery_at:
            self.queue = self.queue.request_discovery(None)
        if self.queue.is_discovery_requested:
            self._start_next()

    def stop_discoveries(self) -> None:
        """Stop discoveries, and answer the waiting requests."""
        self._leaving = True
        self.process.stop_child()
        self.reloader.stop_watching()
        for requester in self.queue.requesters:
            self._answer(requester, protocol.LEAVING)
        self.queue = DiscoveryQueue()

    def _refusal(self, requester: bytes | None) -> ErrorReply | None:
        if self._leaving:  # a result would request workers again
            return protocol.LEAVING
        return _CROWDED if requester is not None and self.queue.is_full else None

    def _start_next(self) -> None:
        self._started_at = monotonic()
        self.queue = self.queue.start_next()
        request = self.queue.running
        served = self._pools.config
        wanted = request.config if request else None
        only = request.only if isinstance(request, DiscoveryRequest) else None
        # The discovery also covers the served configuration, which stays if the wanted one is
        # refused: with less, devices that are only not read would seem to be gone.
        pools = [*served.pools, *(wanted.pools if wanted else ())]
        allowed = self._options.allow_default_route
        self._pools.discovery_started()
        try:
            self.process.start_discovery(
                scan.required_reads(pools, allow_default_route=allowed, only=only),
                frozenset(pool.spec.name for pool in served.pools) if wanted else None,
            )
        except OSError as error:
            self._finish_discovery(
                DiscoveryResult(failed=f"the discovery can't start: {error.strerror}")
            )

    def _finish_discovery(self, result: DiscoveryResult) -> None:
        before = self.measures
        self.measures = DiscoveryMetrics(
            took=with_observation(before.took, monotonic() - self._started_at),
            failed=before.failed + (result.failed is not None),
            cpu_s=self.process.total_cost_s,
        )
        self.queue, ended = self.queue.finish_running()
        match ended:
            case DryRunRequest():
                self._answer(ended.requester, self._dry_run_reply(ended, result))
            case DiscoveryRequest():
                self._apply_result(ended, result)
            case None:
                pass  # no request waits for it any more

    def _dry_run_reply(self, dry_run: DryRunRequest, result: DiscoveryResult) -> Reply:
        if result.failed is not None:
            return ErrorReply((result.failed,))
        pools = self._pools
        return queries.plan_reply(
            dry_run.config,
            pools.config,
            pools.with_carry_over(result.node),
            pools.desired_states,
            result.held or ResourceHolders(),
        )

    def _apply_result(self, request: DiscoveryRequest, result: DiscoveryResult) -> None:
        reloaded = (
            self.reloader.activate(request.config, result, force=request.force)
            if request.config is not None
            else None
        )
        if self._pools.facts.inventory is None and result.failed is None:
            log.info("ready to serve", extra={"pools": len(self._pools.config.pools)})
        changed = self._pools.apply_discovery(result)
        for name in changed:
            self._pools.workers[name].counters.start_latency(request.event_at)
        if reloaded is not None:
            for requester in request.reloads:
                self._answer(requester, reloaded)
        if request.rescans and result.failed is None:  # the reply covers health, too
            self._pools.request_check({None})
        functions = len(self._pools.facts.inventory.functions) if self._pools.facts.inventory else 0
        for requester in request.rescans:
            self._answer(
                requester, protocol.RescanReply(functions, changed, self._pools.facts.problems)
            )

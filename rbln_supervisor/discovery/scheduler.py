"""Performs the effects of the discovery step: runs discoveries, and applies their results.

A configuration becomes active together with a discovery that was made for it, or not at all.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic

import msgspec

from rbln_supervisor.config import dra_access
from rbln_supervisor.config.reload import ConfigReloader
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import Reply, RescanReply
from rbln_supervisor.core.discovery.partial import affected_functions
from rbln_supervisor.core.discovery.queue import DiscoveryRequest, DryRunRequest
from rbln_supervisor.core.reporting.metrics import DiscoveryMetrics
from rbln_supervisor.core.step import discovery_step as steps
from rbln_supervisor.core.step.discovery_step import DiscoveryEffect, DiscoveryEvent, DiscoveryState
from rbln_supervisor.discovery.process import DiscoveryProcess, required_reads
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.problem import Problem

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
        """``answer`` sends a reply to a client."""
        self._options = options
        self._pools = pools
        self.reloader = reloads
        self._answer = answer
        self.process = DiscoveryProcess(options.host_root, options.kubelet_dirs.pod_resources)
        self._state = DiscoveryState(options.rescan_s, options.resource_prefix)

    @property
    def is_reloading(self) -> bool:
        """True if a configuration waits for a discovery, or has one."""
        return self._state.queue.is_reloading

    @property
    def measures(self) -> DiscoveryMetrics:
        """Counters of discoveries."""
        return msgspec.structs.replace(self._state.measures, cpu_s=self.process.total_cost_s)

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
        if self._state.is_leaving:
            return math.inf
        due = (
            self.process.next_deadline
            if self.process.is_busy
            else steps.next_discovery_at(self._state, self._pools.next_removal_at)
        )
        return min(due, self.reloader.next_deadline)

    def post(self, event: DiscoveryEvent) -> None:
        """Apply an event, perform its effects, and apply the events that these cause."""
        events = deque([event])
        while events:
            self._state, effects = steps.step_discovery(self._state, events.popleft(), monotonic())
            events.extend(filter(None, map(self._perform_effect, effects)))

    def discover_functions(self, named: Iterable[Bdf | None], event_at: float) -> None:
        """Request a discovery of functions that had an event (None: of any).

        ``event_at``: time of the first kernel event (monotonic seconds).
        """
        known = self._pools.facts.inventory
        only = None if known is None else affected_functions(named, known)
        self.post(steps.FunctionsChanged(only, event_at))

    def advance_discoveries(self) -> None:
        """Handle a discovery that has ended, and start the next one if it is due."""
        now = monotonic()
        result = self.process.poll_result(now)
        if self._state.is_leaving:
            return
        if wanted := self.reloader.poll_file(now):
            self.post(steps.ConfigRead(wanted))
        if result is not None:
            chance = random.random()  # noqa: S311 - jitter
            self.post(steps.DiscoveryEnded(result, chance))
        self.post(steps.TimePassed(self.process.is_busy, self._pools.next_removal_at))

    def stop_discoveries(self) -> None:
        """Stop discoveries, and answer the waiting requests."""
        self.process.stop_child()
        self.reloader.stop_watching()
        self.post(steps.StopRequested())

    def _perform_effect(self, effect: DiscoveryEffect) -> DiscoveryEvent | None:
        """Perform an effect; return the event that it causes."""
        match effect:
            case steps.ReadConfig(requester=requester, force=force):
                config = self.reloader.read_config()
                return steps.ConfigRead(config, requester, force) if config else None
            case steps.StartDiscovery(request=request):
                return self._start_discovery(request)
            case steps.ApplyResult(request=request, result=result):
                return self._apply_result(request, result)
            case steps.PlanDryRun(request=request, result=result):
                self._answer(request.requester, self._dry_run_reply(request, result))
            case steps.RequestFullCheck():
                self._pools.request_check({None})
            case steps.SendReply(requester=requester, reply=reply):
                self._answer(requester, reply)
        return None

    def _start_discovery(self, request: DiscoveryRequest | DryRunRequest) -> DiscoveryEvent | None:
        served, wanted = self._pools.config, request.config
        only = request.only if isinstance(request, DiscoveryRequest) else None
        # The discovery also covers the served configuration, which stays if the wanted one is
        # refused: with less, devices that are only not read would seem to be gone.
        pools = [*served.pools, *(wanted.pools if wanted else ())]
        allowed = self._options.allow_default_route
        self._pools.discovery_started()
        try:
            self.process.start_discovery(
                required_reads(pools, allow_default_route=allowed, only=only),
                frozenset(pool.spec.name for pool in served.pools) if wanted else None,
            )
        except OSError as error:
            failed = f"the discovery can't start: {error.strerror}"
            return steps.DiscoveryEnded(DiscoveryResult(failed=failed))
        return None

    def _apply_result(self, request: DiscoveryRequest, result: DiscoveryResult) -> DiscoveryEvent:
        pools, is_failed = self._pools, result.failed is not None
        reloaded = (
            self.reloader.activate(request.config, result, force=request.force)
            if request.config is not None
            else None
        )
        if pools.facts.inventory is None and not is_failed:
            log.info("ready to serve", extra={"pools": len(pools.config.pools)})
        changed = pools.apply_discovery(result)
        for name in changed:
            pools.workers[name].counters.start_latency(request.event_at)
        functions = len(pools.facts.inventory.functions) if pools.facts.inventory else 0
        rescanned = RescanReply(functions, changed, pools.facts.problems)
        return steps.ResultApplied(request, rescanned, reloaded, is_failed)

    def _dry_run_reply(self, dry_run: DryRunRequest, result: DiscoveryResult) -> Reply:
        pools = self._pools
        lacks = (
            f"{one.subject}: {one.text}"
            for one in dra_access.find_obstacles(self._options, dry_run.config.pools)
        )
        reply = queries.plan_reply(
            dry_run.config,
            pools.config,
            pools.with_carry_over(result.node),
            pools.desired_states,
            result.held or ResourceHolders(),
        )
        return msgspec.structs.replace(reply, warnings=(*reply.warnings, *lacks))

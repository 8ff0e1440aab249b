"""All pools of the node: turns configuration and devices into the desired state of each worker."""

import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping, Set
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.discovery.carry_over import node_of_devices, with_carried_over
from rbln_supervisor.core.discovery.links import (
    Links,
    LinkTable,
    interface_owners,
    switchdev_uplinks,
    with_link_state,
)
from rbln_supervisor.core.discovery.partial import has_network, merge_partial
from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.node_inventory import NodeInventory
from rbln_supervisor.core.pod_devices import by_pool
from rbln_supervisor.core.reporting.pool_summary import NO_DEVICES
from rbln_supervisor.core.workers.desired_state import (
    DesiredState,
    affected_devices,
    next_removal,
    reconcile,
    update_links,
)
from rbln_supervisor.core.workers.held_devices import absent_devices, retained_devices
from rbln_supervisor.core.workers.lifecycle import Needed, NotNeeded, State
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pool_worker import PoolWorker
from rbln_worker.contract.device import Bdf, DeviceId, LinkState
from rbln_worker.contract.pod_devices import PodDevice, PodDevices
from rbln_worker.contract.pool import PoolName, pool_from_stem
from rbln_worker.contract.problem import Code, Problem, make_problem

RESCAN_JITTER: Final = 0.1
"""Share of the rescan interval by which it varies, so that nodes do not scan at the same time."""

RETRY_INTERVAL_S: Final = 5.0
"""Seconds until the next discovery after one that failed, because devices may be missing until
then, and after one that read no routes, because a function may be on a default route by now."""

log = logging.getLogger(__name__)


class LinkEffect(NamedTuple):
    """The consequences of a link event."""

    is_news: bool = False
    """True if the link belongs to a device and differs from its known state."""
    moved: frozenset[Bdf] = frozenset()
    """Functions whose interface came, went or was renamed: they need a discovery."""


class Pools:
    """All pool workers, by pool, and the result of the last discovery."""

    def __init__(
        self, options: Options, config: NodeConfig, new_worker: Callable[[PoolName], PoolWorker]
    ) -> None:
        self._options = options
        self._new_worker = new_worker
        self._node: NodeInventory | None = None
        self._links = Links()
        self._owners: Mapping[str, frozenset[Bdf]] = {}
        self._rescan_at = math.inf
        self._deferred: set[PoolName] = set()
        """Pools to which the last discovery is applied when their worker is adopted."""
        self.config = config
        self.workers = {pool.spec.name: new_worker(pool.spec.name) for pool in config.pools}
        self.problems: tuple[Problem, ...] = ()
        """Problems of the last discovery."""
        self.pod_devices: PodDevices | None = None
        """Devices that pods hold; None before the first answer. Until then nothing is listed."""
        self._in_use: Mapping[PoolName, Mapping[DeviceId, PodDevice]] = {}
        self._kept: set[DeviceId] = set()
        """Devices that are in their pools only because pods hold them."""

    @property
    def next_discovery_at(self) -> float:
        """Time of the next discovery (monotonic seconds)."""
        leaves = (
            next_removal(worker.desired, self._options.gone_grace_s)
            for worker in self.workers.values()
            if worker.desired
        )
        return min([self._rescan_at, *(leave for leave in leaves if leave is not None)])

    @property
    def function_count(self) -> int:
        """Number of candidate functions in the last discovery."""
        return len(self._node.functions) if self._node else 0

    @property
    def node(self) -> NodeInventory | None:
        """Result of the last discovery; None before the first."""
        return self._node

    @property
    def link_table(self) -> LinkTable:
        """Current link table."""
        return self._links.link_table(switchdev_uplinks(self._node or NodeInventory()))

    @property
    def desired_states(self) -> Mapping[PoolName, DesiredState]:
        """Desired states of the configured pools."""
        return {
            name: worker.desired
            for name, worker in self.workers.items()
            if worker.configured and worker.desired is not None
        }

    def apply_discovery(self, result: DiscoveryResult) -> tuple[PoolName, ...]:
        """Apply the result of a discovery; return the pools that it changed."""
        interval = self._options.rescan_s
        if result.failed is not None:
            interval = min(interval, RETRY_INTERVAL_S)
            self._report_problems((make_problem(Code.DISCOVERY_FAILED, result.failed),))
        elif result.looked is not None:
            self._apply_partial(result, result.looked)
            return self.apply_assignment()
        else:
            self._report_problems(result.problems)
            self._node = self.with_carry_over(result.node)
            self._links = self._links.scan_finished(result.links)
            self._owners = interface_owners(self._node)
        jitter = random.uniform(-RESCAN_JITTER, RESCAN_JITTER)  # noqa: S311
        self._rescan_at = monotonic() + interval * (1 + jitter)
        return self.apply_assignment()

    def apply_pod_devices(self, known: PodDevices) -> tuple[PoolName, ...]:
        """Apply the devices that pods hold; return the pools whose lists this changed."""
        first = self.pod_devices is None
        before, self._in_use = self._in_use, by_pool(known.devices)
        self.pod_devices = known
        for worker in self.workers.values():
            worker.apply_pod_devices(known)
        self._clear_left_files()
        if first or any(
            self._is_affected(name, before.get(name, {}).keys() ^ self._in_use.get(name, {}).keys())
            for name in before.keys() | self._in_use.keys()
        ):
            return self.apply_assignment()
        return ()

    def in_use(self, pool: PoolName) -> Mapping[DeviceId, PodDevice]:
        """Return the pool's devices that pods hold."""
        return self._in_use.get(pool, {})

    def _clear_left_files(self) -> None:
        """Remove the files of pools without a worker, once no pod needs them."""
        for path in (self._options.run_dir / "pools").glob("*.files"):
            name = pool_from_stem(path.stem)
            worker = self.workers.get(name)
            if worker is None:
                worker = self._new_worker(name)
                worker.configured = False
                worker.apply_pod_devices(self.pod_devices or PodDevices())
            unwanted = not worker.configured or (worker.desired and not worker.desired.devices)
            if unwanted and worker.child.state is State.NONE and worker.is_free():
                worker.clear_files()

    def _is_affected(self, pool: PoolName, devices: Iterable[DeviceId]) -> bool:
        """Return True if one of the devices is, or would be, listed only because a pod holds it."""
        roster = self.desired_states.get(pool)
        return roster is not None and any(
            device not in roster.devices
            or roster.devices[device].gone is not None
            or device in self._kept
            for device in devices
        )

    def with_carry_over(self, found: NodeInventory) -> NodeInventory:
        """Return a discovery's result, with earlier facts that it could not read."""
        return with_carried_over(self._node or _facts_of_orphans(self.workers.values()), found)

    def discovery_started(self) -> None:
        """Note the start of a discovery: link events from now on are newer than its result."""
        self._links = self._links.scan_started()

    def on_link_event(self, index: int, state: LinkState | None) -> LinkEffect:
        """Handle a link event (None: the link is gone); return its consequences."""
        before = self._links.known.get(index)
        self._links = self._links.on_event(index, state)
        names = {link.name for link in (before, state) if link is not None} & self._owners.keys()
        if before == state:
            return LinkEffect()
        if not names:  # a bond's state depends on its members
            members = self._links.bond_members(index, before, state)
            return LinkEffect(is_news=not members.isdisjoint(self._owners))
        if before is not None and state is not None and before.name == state.name:
            return LinkEffect(is_news=True)
        return LinkEffect(
            is_news=True, moved=frozenset().union(*(self._owners[name] for name in names))
        )

    def propagate_links(self, event_at: float) -> None:
        """Apply link events to the desired states; ``event_at``: time of the first (monotonic)."""
        links = self.link_table
        for worker in self.workers.values():
            if worker.configured and worker.desired is not None:
                before, worker.desired = worker.desired, update_links(worker.desired, links)
                if worker.desired is not before:
                    worker.counters.start_latency(event_at)

    def request_check(self, functions: Set[Bdf | None]) -> None:
        """Request health checks of these functions' devices; None (an IOMMU group): all others."""
        for pool, devices in affected_devices(functions, self.desired_states).items():
            self.workers[pool].request_check(devices)
        if None in functions:
            for worker in self.workers.values():
                worker.request_check_all()

    def set_config(self, config: NodeConfig) -> None:
        """Serve the pools of a configuration from now on; the discovery for it is applied next."""
        self.config = config
        names = {pool.spec.name for pool in config.pools}
        for name, worker in self.workers.items():
            if name not in names:
                worker.configured = False
                worker.apply_event(NotNeeded())

    def adopt_orphans(self) -> None:
        """Adopt the orphans: living workers of an earlier supervisor.

        Those of pools that are not configured any more are drained, and their files are removed.
        """
        for path in sorted((self._options.run_dir / "pools").glob("*.lock")):
            name = pool_from_stem(path.stem)
            worker = self.workers.get(name) or self._new_worker(name)
            try:
                met = worker.adopt_existing()
            except OSError as error:  # a start of a worker for this pool finds the same problem
                log.warning("a pool's worker can't be adopted", extra={"pool": name, "why": error})
                continue
            if name in self.workers:
                continue
            worker.configured = False
            worker.apply_event(NotNeeded())
            if met:
                self.workers[name] = worker
            else:
                worker.remove_files()

    def apply_deferred(self) -> None:
        """Apply the last discovery to pools whose worker has been adopted meanwhile."""
        if self._node is not None and self._newly_adopted:
            self.apply_assignment()

    @property
    def _newly_adopted(self) -> frozenset[PoolName]:
        """Pools whose worker has been adopted since the last discovery was applied."""
        return frozenset(
            name
            for name in self._deferred
            if name in self.workers and not self.workers[name].is_adopting
        )

    def drain_all(self) -> None:
        """Drain every worker."""
        for worker in self.workers.values():
            worker.apply_event(NotNeeded())

    def drop_removed(self) -> None:
        """Drop the pools that are not configured any more and have no worker."""
        for name in [
            name
            for name, worker in self.workers.items()
            if not worker.configured and worker.has_ended
        ]:
            self.workers.pop(name).remove_files()

    def apply_assignment(self) -> tuple[PoolName, ...]:
        """Match the last discovery with the active configuration; return the changed pools."""
        changed = []
        if self._node is not None and (adopted := self._newly_adopted):
            self._deferred -= adopted
            recalled = _facts_of_orphans(self.workers[name] for name in adopted)
            self._node = with_carried_over(recalled, self._node)
        found = self._node
        workers = {
            pool.spec.name: self._configured_worker(pool.spec.name) for pool in self.config.pools
        }
        if found is None:
            return ()
        if self.pod_devices is None:
            # Facts that their workers report are added when they are adopted.
            self._deferred.update(name for name, worker in workers.items() if worker.is_adopting)
            return ()
        self._deferred.clear()
        self._kept.clear()
        assigned = assign(self.config.pools, found)
        # IDs are unique over pools: up to 1.36 the kubelet finds a pod's device by its ID alone.
        taken = set(assigned.taken)
        links = self.link_table
        for pool in self.config.pools:
            name = pool.spec.name
            worker = workers[name]
            if worker.is_adopting:
                self._deferred.add(name)
                continue
            before = worker.desired or DesiredState(pool.spec)
            in_use = self.in_use(name).keys()
            held = msgspec.structs.replace(before, in_use=absent_devices(pool, in_use))
            retained = retained_devices(pool, found, in_use, taken)
            self._kept.update(retained)
            present = {**assigned.devices[name], **retained}
            worker.desired = reconcile(
                held,
                pool,
                {d: with_link_state(device, links) for d, device in sorted(present.items())},
                taken,
                found,
                now=monotonic(),
                grace_s=self._options.gone_grace_s,
            )
            taken.update(worker.desired.devices)
            if worker.desired.devices:
                worker.apply_event(Needed())
            elif worker.desired.generation != before.generation:
                log.info("pool has no devices", extra={"pool": name, "why": NO_DEVICES})
            if worker.desired.generation != before.generation:
                changed.append(name)
        return tuple(changed)

    def _configured_worker(self, name: PoolName) -> PoolWorker:
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = self._new_worker(name)
            if self.pod_devices is not None:
                worker.apply_pod_devices(self.pod_devices)
        if not worker.configured:
            # It starts without devices: its earlier desired state belongs to another configuration.
            worker.configured = True
            worker.desired = None
        return worker

    def _apply_partial(self, result: DiscoveryResult, looked: frozenset[Bdf]) -> None:
        """Apply a partial discovery: functions that it did not read stay as they were."""
        self._report_problems(dict.fromkeys((*self.problems, *result.problems)))
        self._node = self.with_carry_over(
            merge_partial(self._node or NodeInventory(), result.node, looked)
        )
        self._owners = interface_owners(self._node)
        if has_network(result.node):
            self._rescan_at = min(self._rescan_at, monotonic() + RETRY_INTERVAL_S)

    def _report_problems(self, problems: Iterable[Problem]) -> None:
        now = tuple(problems)
        for problem in now:
            if problem not in self.problems:
                log.warning(problem.text)
        self.problems = now


def _facts_of_orphans(workers: Iterable[PoolWorker]) -> NodeInventory:
    """Return an earlier supervisor's facts of the devices that adopted workers have."""
    rosters = (worker.desired for worker in workers if worker.desired is not None)
    return node_of_devices(device for roster in rosters for device in roster.devices.values())

"""All pools of the node: turns configuration and devices into the desired state of each worker."""

import logging
import math
import secrets
from collections.abc import Iterable, Mapping, Set
from time import monotonic

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.discovery import node_facts
from rbln_supervisor.core.discovery.carry_over import node_of_devices, with_carried_over
from rbln_supervisor.core.discovery.node_facts import LinkEffect, NodeFacts
from rbln_supervisor.core.pod_devices import Change, by_pool, holder_changes, with_pool_names
from rbln_supervisor.core.reporting.pool_summary import NO_DEVICES
from rbln_supervisor.core.workers.assignment import assign_devices
from rbln_supervisor.core.workers.desired_state import (
    DesiredState,
    affected_devices,
    next_removal,
    update_links,
)
from rbln_supervisor.core.workers.lifecycle import State
from rbln_supervisor.core.workers.worker_events import Needed
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pool_worker import PoolWorker, worker_spec
from rbln_worker.contract.device import Bdf, DeviceId, LinkState
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.pod_devices import PodDevice, PodDevices
from rbln_worker.contract.pool import PoolName, pool_from_stem
from rbln_worker.spec import WorkerSpec

log = logging.getLogger(__name__)


class Pools:
    """All pool workers, by pool, and the result of the last discovery."""

    def __init__(self, options: Options, config: NodeConfig, event_log: EventLog) -> None:
        self._options = options
        self._event_log = event_log
        self._session = secrets.token_hex(8)
        self.facts = NodeFacts()
        self._deferred: set[PoolName] = set()
        """Pools to which the last discovery is applied when their worker is adopted."""
        self.config = config
        self.workers = {pool.spec.name: self._new_worker(pool.spec.name) for pool in config.pools}
        self.pod_devices: PodDevices | None = None
        """Devices that pods hold; None before the first answer. Until then nothing is listed."""
        self._known_holders = PodDevices()
        """The same, with claims under the names of their drivers."""
        self._in_use: Mapping[PoolName, Set[DeviceId]] = {}

    @property
    def next_removal_at(self) -> float:
        """Time when the next device that is gone leaves its list (monotonic seconds)."""
        grace_s = self._options.gone_grace_s
        leaves = (next_removal(desired, grace_s) for desired in self.desired_states.values())
        return min((leave for leave in leaves if leave is not None), default=math.inf)

    @property
    def desired_states(self) -> Mapping[PoolName, DesiredState]:
        """Desired states of the configured pools."""
        return {
            name: worker.pool.desired
            for name, worker in self.workers.items()
            if worker.pool.configured and worker.pool.desired is not None
        }

    def apply_discovery(self, result: DiscoveryResult) -> tuple[PoolName, ...]:
        """Apply the result of a discovery; return the pools that it changed."""
        before = self.facts
        recalled = _facts_of_orphans(self.workers.values())
        self.facts = node_facts.after_discovery(before, result, recalled)
        for problem in self.facts.problems:
            if problem not in before.problems:
                log.warning(problem.text)
        return self.apply_assignment()

    def apply_pod_devices(self, known: PodDevices) -> tuple[Change, ...]:
        """Apply the devices that pods hold; return the changes of configured pools."""
        before, in_use = self.pod_devices, self._in_use
        devices = self._set_pod_devices(known)
        self._clear_left_files()
        if before is None or in_use != self._in_use:
            self.apply_assignment()
        ours = {pool.spec.name for pool in self.config.pools}
        changes = holder_changes(before.devices if before else (), devices)
        return tuple(one for one in changes if one.device.resource in ours)

    def _set_pod_devices(self, known: PodDevices) -> tuple[PodDevice, ...]:
        """Set the devices that pods hold; claims get the names of the pools of their drivers."""
        self._known_holders = known
        specs = [pool.spec for pool in self.config.pools]
        drivers = {spec.dra.driver: spec.name for spec in specs if spec.dra}
        devices = with_pool_names(known.devices, drivers)
        self.pod_devices = msgspec.structs.replace(known, devices=devices)
        self._in_use = {name: held.keys() for name, held in by_pool(devices).items()}
        for worker in self.workers.values():
            worker.apply_pod_devices(self.pod_devices)
        return devices

    def _clear_left_files(self) -> None:
        """Remove the files of pools without a worker, once no pod needs them."""
        for path in (self._options.run_dir / "pools").glob("*.files"):
            name = pool_from_stem(path.stem)
            worker = self.workers.get(name)
            if worker is None:
                worker = self._new_worker(name)
                worker.apply_pod_devices(self.pod_devices or PodDevices())
            pool = worker.pool
            is_wanted = name in self.workers and pool.configured
            is_empty = pool.desired is not None and not pool.desired.devices
            if (is_empty or not is_wanted) and pool.child.state is State.NONE and worker.is_free():
                worker.clear_files()

    def with_carry_over(self, found: NodeInventory) -> NodeInventory:
        """Return a discovery's result, with earlier facts that it could not read."""
        return with_carried_over(
            self.facts.inventory or _facts_of_orphans(self.workers.values()), found
        )

    def discovery_started(self) -> None:
        """Note the start of a discovery: link events from now on are newer than its result."""
        links = self.facts.links.scan_started()
        self.facts = msgspec.structs.replace(self.facts, links=links)

    def on_link_event(self, index: int, state: LinkState | None) -> LinkEffect:
        """Handle a link event (None: the link is gone); return its consequences."""
        self.facts, effect = node_facts.after_link_event(self.facts, index, state)
        return effect

    def propagate_links(self, event_at: float) -> None:
        """Apply link events to the desired states; ``event_at``: time of the first (monotonic)."""
        links = self.facts.link_table
        for worker in self.workers.values():
            before = worker.pool.desired
            if worker.pool.configured and before is not None:
                after = update_links(before, links)
                if after is not before:
                    worker.update_pool(desired=after)
                    worker.counters.start_latency(event_at)

    def request_check(self, functions: Set[Bdf | None]) -> None:
        """Request health checks of these functions' devices; None (an IOMMU group): all others."""
        affected = affected_devices(functions, self.desired_states)
        for name, worker in self.workers.items():
            worker.request_check(affected.get(name, ()), is_full=None in functions)

    def set_config(self, config: NodeConfig) -> None:
        """Serve the pools of a configuration from now on; the discovery for it is applied next."""
        self.config = config
        if self.pod_devices is not None:
            self._set_pod_devices(self._known_holders)
        names = {pool.spec.name for pool in config.pools}
        for name, worker in self.workers.items():
            if name in names:
                worker.change_export(self._worker_spec(name))
            else:
                worker.update_pool(configured=False)
                worker.end_export()

    def adopt_orphans(self) -> None:
        """Adopt the orphans: living workers of an earlier supervisor.

        Those of pools that are not configured any more are drained, and their files are removed.
        """
        for path in sorted((self._options.run_dir / "pools").glob("*.lock")):
            name = pool_from_stem(path.stem)
            worker = self.workers.get(name) or self._new_worker(name)
            try:
                if found := worker.find_orphan():
                    worker.apply_event(found)
            except OSError as error:  # a start of a worker for this pool finds the same problem
                log.warning("cannot adopt the worker of a pool", extra={"pool": name, "why": error})
                continue
            if name in self.workers:
                continue
            worker.update_pool(configured=False)
            worker.end_export()
            if found:
                self.workers[name] = worker
            else:
                worker.remove_files()

    def apply_deferred(self) -> None:
        """Apply the last discovery to pools whose worker has been adopted meanwhile."""
        if self.facts.inventory is not None and self._newly_adopted:
            self.apply_assignment()

    @property
    def _newly_adopted(self) -> frozenset[PoolName]:
        """Pools whose worker has been adopted since the last discovery was applied."""
        return frozenset(
            name
            for name in self._deferred
            if name in self.workers and not self.workers[name].pool.is_adopting
        )

    def drop_removed(self) -> None:
        """Drop the pools that are not configured any more and have no worker."""
        for name in [
            name
            for name, worker in self.workers.items()
            if not worker.pool.configured and worker.pool.has_ended
        ]:
            self.workers.pop(name).remove_files()

    def apply_assignment(self) -> tuple[PoolName, ...]:
        """Match the last discovery with the active configuration; return the changed pools."""
        changed = []
        if self.facts.inventory is not None and (adopted := self._newly_adopted):
            self._deferred -= adopted
            recalled = _facts_of_orphans(self.workers[name] for name in adopted)
            inventory = with_carried_over(recalled, self.facts.inventory)
            self.facts = msgspec.structs.replace(self.facts, inventory=inventory)
        found = self.facts.inventory
        workers = {
            pool.spec.name: self._configured_worker(pool.spec.name) for pool in self.config.pools
        }
        if found is None:
            return ()
        adopting = {name for name, worker in workers.items() if worker.pool.is_adopting}
        if self.pod_devices is None:
            self._deferred |= adopting  # facts that their workers report are added later
            return ()
        self._deferred = adopting
        after = assign_devices(
            self.config,
            found,
            self.facts.link_table,
            self.pod_devices.devices,
            {n: one.pool.desired for n, one in workers.items() if n not in adopting},
            now=monotonic(),
            grace_s=self._options.gone_grace_s,
        )
        for name, desired in after.items():
            before = workers[name].pool.desired
            workers[name].update_pool(desired=desired)
            if desired.devices:
                workers[name].apply_event(Needed())
            if desired.generation != (before.generation if before else 0):
                changed.append(name)
                if not desired.devices:
                    log.info("pool has no devices", extra={"pool": name, "why": NO_DEVICES})
        return tuple(changed)

    def _new_worker(self, name: PoolName) -> PoolWorker:
        return PoolWorker(self._worker_spec(name), self._session, self._event_log)

    def _worker_spec(self, name: PoolName) -> WorkerSpec:
        export = next((one.spec.dra for one in self.config.pools if one.spec.name == name), None)
        return worker_spec(name, self._options, export)

    def _configured_worker(self, name: PoolName) -> PoolWorker:
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = self._new_worker(name)
            if self.pod_devices is not None:
                worker.apply_pod_devices(self.pod_devices)
        if not worker.pool.configured:
            # It starts without devices: its earlier desired state belongs to another configuration.
            worker.update_pool(configured=True, desired=None)
        return worker


def _facts_of_orphans(workers: Iterable[PoolWorker]) -> NodeInventory:
    """Return an earlier supervisor's facts of the devices that adopted workers have."""
    rosters = (worker.pool.desired for worker in workers if worker.pool.desired is not None)
    return node_of_devices(device for roster in rosters for device in roster.devices.values())

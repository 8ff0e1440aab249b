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
    relink,
)
from rbln_supervisor.core.workers.held_devices import absent, kept
from rbln_supervisor.core.workers.lifecycle import Needed, NotNeeded, State
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pool_worker import PoolWorker
from rbln_worker.contract.device import Bdf, DeviceId, LinkState
from rbln_worker.contract.pod_devices import PodDevice, PodDevices
from rbln_worker.contract.pool import PoolName, pool_from_stem

RESCAN_JITTER: Final = 0.1
"""Share of the rescan interval by which it varies, so that nodes do not scan at the same time."""

AGAIN_S: Final = 5.0
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
        self, options: Options, config: NodeConfig, keeper: Callable[[PoolName], PoolWorker]
    ) -> None:
        self._options = options
        self._keeper = keeper
        self._node: NodeInventory | None = None
        self._links = Links()
        self._named: Mapping[str, frozenset[Bdf]] = {}
        self._rescan_at = math.inf
        self._late: set[PoolName] = set()
        """Pools to which the last discovery is applied when their worker is adopted."""
        self.config = config
        self.keepers = {pool.spec.name: keeper(pool.spec.name) for pool in config.pools}
        self.problems: tuple[str, ...] = ()
        """Problems of the last discovery."""
        self.pod_devices: PodDevices | None = None
        """Devices that pods hold; None before the first answer. Until then nothing is listed."""
        self._in_use: Mapping[PoolName, Mapping[DeviceId, PodDevice]] = {}
        self._kept: set[DeviceId] = set()
        """Devices that are in their pools only because pods hold them."""

    @property
    def due(self) -> float:
        """Time of the next discovery (monotonic seconds)."""
        leaves = (
            next_removal(keeper.roster, self._options.gone_grace_s)
            for keeper in self.keepers.values()
            if keeper.roster
        )
        return min([self._rescan_at, *(leave for leave in leaves if leave is not None)])

    @property
    def functions(self) -> int:
        """Number of candidate functions in the last discovery."""
        return len(self._node.functions) if self._node else 0

    @property
    def node(self) -> NodeInventory | None:
        """Result of the last discovery; None before the first."""
        return self._node

    @property
    def links(self) -> LinkTable:
        """Current link table."""
        return self._links.link_table(switchdev_uplinks(self._node or NodeInventory()))

    @property
    def rosters(self) -> Mapping[PoolName, DesiredState]:
        """Desired states of the configured pools."""
        return {
            name: keeper.roster
            for name, keeper in self.keepers.items()
            if keeper.configured and keeper.roster is not None
        }

    def take_in(self, look: DiscoveryResult) -> tuple[PoolName, ...]:
        """Apply the result of a discovery; return the pools that it changed."""
        interval = self._options.rescan_s
        if look.failed is not None:
            interval = min(interval, AGAIN_S)
            self._report((look.failed,))
        elif look.looked is not None:
            self._take_in_some(look, look.looked)
            return self.apply()
        else:
            self._report(look.problems)
            self._node = self.known(look.node)
            self._links = self._links.scan_finished(look.links)
            self._named = interface_owners(self._node)
        jitter = random.uniform(-RESCAN_JITTER, RESCAN_JITTER)  # noqa: S311
        self._rescan_at = monotonic() + interval * (1 + jitter)
        return self.apply()

    def take_pod_devices(self, known: PodDevices) -> tuple[PoolName, ...]:
        """Apply the devices that pods hold; return the pools whose lists this changed."""
        first = self.pod_devices is None
        before, self._in_use = self._in_use, by_pool(known.devices)
        self.pod_devices = known
        for keeper in self.keepers.values():
            keeper.take_pods(known)
        self._clear_left_files()
        if first or any(
            self._is_concerned(
                name, before.get(name, {}).keys() ^ self._in_use.get(name, {}).keys()
            )
            for name in before.keys() | self._in_use.keys()
        ):
            return self.apply()
        return ()

    def in_use(self, pool: PoolName) -> Mapping[DeviceId, PodDevice]:
        """Return the pool's devices that pods hold."""
        return self._in_use.get(pool, {})

    def _clear_left_files(self) -> None:
        """Remove the files of pools without a worker, once no pod needs them."""
        for path in (self._options.run_dir / "pools").glob("*.files"):
            name = pool_from_stem(path.stem)
            keeper = self.keepers.get(name)
            if keeper is None:
                keeper = self._keeper(name)
                keeper.configured = False
                keeper.take_pods(self.pod_devices or PodDevices())
            unwanted = not keeper.configured or (keeper.roster and not keeper.roster.devices)
            if unwanted and keeper.child.state is State.NONE and keeper.is_free():
                keeper.clear_files()

    def _is_concerned(self, pool: PoolName, devices: Iterable[DeviceId]) -> bool:
        """Return True if one of the devices is, or would be, listed only because a pod holds it."""
        roster = self.rosters.get(pool)
        return roster is not None and any(
            device not in roster.devices
            or roster.devices[device].gone is not None
            or device in self._kept
            for device in devices
        )

    def known(self, found: NodeInventory) -> NodeInventory:
        """Return a discovery's result, with earlier facts that it could not read."""
        return with_carried_over(self._node or _recalled(self.keepers.values()), found)

    def look_begins(self) -> None:
        """Note the start of a discovery: link events from now on are newer than its result."""
        self._links = self._links.scan_started()

    def hear_link(self, index: int, state: LinkState | None) -> LinkEffect:
        """Handle a link event (None: the link is gone); return its consequences."""
        before = self._links.known.get(index)
        self._links = self._links.on_event(index, state)
        names = {link.name for link in (before, state) if link is not None} & self._named.keys()
        if before == state:
            return LinkEffect()
        if not names:  # a bond's state depends on its members
            members = self._links.bond_members(index, before, state)
            return LinkEffect(is_news=not members.isdisjoint(self._named))
        if before is not None and state is not None and before.name == state.name:
            return LinkEffect(is_news=True)
        return LinkEffect(
            is_news=True, moved=frozenset().union(*(self._named[name] for name in names))
        )

    def relink(self, heard: float) -> None:
        """Apply link events to the desired states; ``heard``: time of the first (monotonic)."""
        links = self.links
        for keeper in self.keepers.values():
            if keeper.configured and keeper.roster is not None:
                before, keeper.roster = keeper.roster, relink(keeper.roster, links)
                if keeper.roster is not before:
                    keeper.account.owe(heard)

    def nudge(self, functions: Set[Bdf | None]) -> None:
        """Request health checks of these functions' devices; None (an IOMMU group): all others."""
        for pool, devices in affected_devices(functions, self.rosters).items():
            self.keepers[pool].nudge(devices)
        if None in functions:
            for keeper in self.keepers.values():
                keeper.nudge_all()

    def configure(self, config: NodeConfig) -> None:
        """Serve the pools of a configuration from now on; the discovery for it is applied next."""
        self.config = config
        names = {pool.spec.name for pool in config.pools}
        for name, keeper in self.keepers.items():
            if name not in names:
                keeper.configured = False
                keeper.event(NotNeeded())

    def take_over(self) -> None:
        """Adopt the orphans: living workers of an earlier supervisor.

        Those of pools that are not configured any more are drained, and their files are removed.
        """
        for path in sorted((self._options.run_dir / "pools").glob("*.lock")):
            name = pool_from_stem(path.stem)
            keeper = self.keepers.get(name) or self._keeper(name)
            try:
                met = keeper.meet()
            except OSError as error:  # a start of a worker for this pool finds the same problem
                log.warning("a pool's worker can't be adopted", extra={"pool": name, "why": error})
                continue
            if name in self.keepers:
                continue
            keeper.configured = False
            keeper.event(NotNeeded())
            if met:
                self.keepers[name] = keeper
            else:
                keeper.forget()

    def catch_up(self) -> None:
        """Apply the last discovery to pools whose worker has been adopted meanwhile."""
        if self._node is not None and self._adopted:
            self.apply()

    @property
    def _adopted(self) -> frozenset[PoolName]:
        """Pools whose worker has been adopted since the last discovery was applied."""
        return frozenset(
            name
            for name in self._late
            if name in self.keepers and not self.keepers[name].is_adopting
        )

    def leave(self) -> None:
        """Drain every worker."""
        for keeper in self.keepers.values():
            keeper.event(NotNeeded())

    def forget_departed(self) -> None:
        """Drop the pools that are not configured any more and have no worker."""
        for name in [
            name
            for name, keeper in self.keepers.items()
            if not keeper.configured and keeper.has_ended
        ]:
            self.keepers.pop(name).forget()

    def apply(self) -> tuple[PoolName, ...]:
        """Match the last discovery with the active configuration; return the changed pools."""
        changed = []
        if self._node is not None and (adopted := self._adopted):
            self._late -= adopted
            recalled = _recalled(self.keepers[name] for name in adopted)
            self._node = with_carried_over(recalled, self._node)
        found = self._node
        keepers = {pool.spec.name: self._configured(pool.spec.name) for pool in self.config.pools}
        if found is None:
            return ()
        if self.pod_devices is None:
            # Facts that their workers report are added when they are adopted.
            self._late.update(name for name, keeper in keepers.items() if keeper.is_adopting)
            return ()
        self._late.clear()
        self._kept.clear()
        assigned = assign(self.config.pools, found)
        # IDs are unique over pools: up to 1.36 the kubelet finds a pod's device by its ID alone.
        taken = set(assigned.taken)
        links = self.links
        for pool in self.config.pools:
            name = pool.spec.name
            keeper = keepers[name]
            if keeper.is_adopting:
                self._late.add(name)
                continue
            before = keeper.roster or DesiredState(pool.spec)
            in_use = self.in_use(name).keys()
            held = msgspec.structs.replace(before, in_use=absent(pool, in_use))
            retained = kept(pool, found, in_use, taken)
            self._kept.update(retained)
            present = {**assigned.devices[name], **retained}
            keeper.roster = reconcile(
                held,
                pool,
                {d: with_link_state(device, links) for d, device in sorted(present.items())},
                taken,
                found,
                now=monotonic(),
                grace_s=self._options.gone_grace_s,
            )
            taken.update(keeper.roster.devices)
            if keeper.roster.devices:
                keeper.event(Needed())
            elif keeper.roster.generation != before.generation:
                log.info("pool has no devices", extra={"pool": name, "why": NO_DEVICES})
            if keeper.roster.generation != before.generation:
                changed.append(name)
        return tuple(changed)

    def _configured(self, name: PoolName) -> PoolWorker:
        keeper = self.keepers.get(name)
        if keeper is None:
            keeper = self.keepers[name] = self._keeper(name)
            if self.pod_devices is not None:
                keeper.take_pods(self.pod_devices)
        if not keeper.configured:
            # It starts without devices: its earlier desired state belongs to another configuration.
            keeper.configured = True
            keeper.roster = None
        return keeper

    def _take_in_some(self, look: DiscoveryResult, looked: frozenset[Bdf]) -> None:
        """Apply a partial discovery: functions that it did not read stay as they were."""
        self._report(dict.fromkeys((*self.problems, *look.problems)))
        self._node = self.known(merge_partial(self._node or NodeInventory(), look.node, looked))
        self._named = interface_owners(self._node)
        if has_network(look.node):
            self._rescan_at = min(self._rescan_at, monotonic() + AGAIN_S)

    def _report(self, problems: Iterable[str]) -> None:
        now = tuple(problems)
        for problem in now:
            if problem not in self.problems:
                log.warning(problem)
        self.problems = now


def _recalled(keepers: Iterable[PoolWorker]) -> NodeInventory:
    """Return an earlier supervisor's facts of the devices that adopted workers have."""
    rosters = (keeper.roster for keeper in keepers if keeper.roster is not None)
    return node_of_devices(device for roster in rosters for device in roster.devices.values())

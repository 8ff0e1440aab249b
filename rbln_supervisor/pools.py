"""All pools of the node: configuration and devices become what each worker should serve."""

import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping, Set
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.assign import assign
from rbln_supervisor.core.configuration.config import NodeConfig
from rbln_supervisor.core.in_use import absent, kept
from rbln_supervisor.core.kernel_events import touched
from rbln_supervisor.core.lifecycle import State, Unwanted, Wanted
from rbln_supervisor.core.links import Links, LinkTable, linked, named, uplinks
from rbln_supervisor.core.memory import remember, seen_in
from rbln_supervisor.core.node import Node
from rbln_supervisor.core.partial import has_network, merged
from rbln_supervisor.core.pod_devices import by_pool
from rbln_supervisor.core.roster import Roster, advance, next_leave, relink
from rbln_supervisor.core.summary import NO_DEVICES
from rbln_supervisor.keeper import Keeper
from rbln_supervisor.node import Look
from rbln_supervisor.options import Options
from rbln_worker.contract.device import Bdf, DeviceId, LinkState
from rbln_worker.contract.pod_devices import PodDevice, PodDevices
from rbln_worker.contract.pool import PoolName, pool_of

RESCAN_JITTER: Final = 0.1
"""The share of the rescan interval by which it varies, so that nodes don't look in step."""

AGAIN_S: Final = 5.0
"""After a look that failed the next one comes soon: devices may be missing until then. So it does
after one that asked for no routes: a function may carry one by now."""

log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """What news of a link mean."""

    is_news: bool = False
    """It is a device's, and differs from what was known."""
    moved: frozenset[Bdf] = frozenset()
    """Functions whose interface came, went or has another name: they have to be looked at."""


class Pools:
    """The keepers, by pool, and what was last seen of the node."""

    def __init__(
        self, options: Options, config: NodeConfig, keeper: Callable[[PoolName], Keeper]
    ) -> None:
        self._options = options
        self._keeper = keeper
        self._node: Node | None = None
        self._links = Links()
        self._named: Mapping[str, frozenset[Bdf]] = {}
        self._rescan_at = math.inf
        self._late: set[PoolName] = set()
        """Pools that have to take in the last look when they are adopted."""
        self.config = config
        self.keepers = {pool.spec.name: keeper(pool.spec.name) for pool in config.pools}
        self.problems: tuple[str, ...] = ()
        """What was wrong with the last look."""
        self.pod_devices: PodDevices | None = None
        """What pods hold; None before the first answer, without which nothing is listed."""
        self._in_use: Mapping[PoolName, Mapping[DeviceId, PodDevice]] = {}
        self._kept: set[DeviceId] = set()
        """Devices that are in their pools only because pods hold them."""

    @property
    def due(self) -> float:
        """When to look at the node again (monotonic seconds)."""
        leaves = (
            next_leave(keeper.roster, self._options.gone_grace_s)
            for keeper in self.keepers.values()
            if keeper.roster
        )
        return min([self._rescan_at, *(leave for leave in leaves if leave is not None)])

    @property
    def functions(self) -> int:
        """Candidates that the last look found."""
        return len(self._node.functions) if self._node else 0

    @property
    def node(self) -> Node | None:
        """What the last look found; None before the first."""
        return self._node

    @property
    def links(self) -> LinkTable:
        """What is known of links now."""
        return self._links.table(uplinks(self._node or Node()))

    @property
    def rosters(self) -> Mapping[PoolName, Roster]:
        """What the configured pools list."""
        return {
            name: keeper.roster
            for name, keeper in self.keepers.items()
            if keeper.configured and keeper.roster is not None
        }

    def take_in(self, look: Look) -> tuple[PoolName, ...]:
        """Put what a look found into force; the pools that this changed."""
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
            self._links = self._links.looked(look.links)
            self._named = named(self._node)
        jitter = random.uniform(-RESCAN_JITTER, RESCAN_JITTER)  # noqa: S311
        self._rescan_at = monotonic() + interval * (1 + jitter)
        return self.apply()

    def take_pod_devices(self, known: PodDevices) -> tuple[PoolName, ...]:
        """Take the devices that pods hold; the pools whose lists this changed."""
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
        """The pool's devices that pods hold."""
        return self._in_use.get(pool, {})

    def _clear_left_files(self) -> None:
        """Remove what pools left that nobody serves, once no pod needs it."""
        for path in (self._options.run_dir / "pools").glob("*.files"):
            name = pool_of(path.stem)
            keeper = self.keepers.get(name)
            if keeper is None:
                keeper = self._keeper(name)
                keeper.configured = False
                keeper.take_pods(self.pod_devices or PodDevices())
            unwanted = not keeper.configured or (keeper.roster and not keeper.roster.devices)
            if unwanted and keeper.child.state is State.NONE and keeper.is_free():
                keeper.clear_files()

    def _is_concerned(self, pool: PoolName, devices: Iterable[DeviceId]) -> bool:
        """Whether pods came to, or left, devices that the pool lists only because of pods."""
        roster = self.rosters.get(pool)
        return roster is not None and any(
            device not in roster.devices
            or roster.devices[device].gone is not None
            or device in self._kept
            for device in devices
        )

    def known(self, found: Node) -> Node:
        """What a look found, with what earlier ones know of what it could not see."""
        return remember(self._node or _recalled(self.keepers.values()), found)

    def look_begins(self) -> None:
        """What is heard of links from now on is newer than what this look will say."""
        self._links = self._links.begin()

    def hear_link(self, index: int, state: LinkState | None) -> Heard:
        """The kernel tells of a link (None: it is gone); what has to be done about it."""
        before = self._links.known.get(index)
        self._links = self._links.hear(index, state)
        names = {link.name for link in (before, state) if link is not None} & self._named.keys()
        if before == state:
            return Heard()
        if not names:  # a bond carries what its members do
            members = self._links.members(index, before, state)
            return Heard(is_news=not members.isdisjoint(self._named))
        if before is not None and state is not None and before.name == state.name:
            return Heard(is_news=True)
        return Heard(is_news=True, moved=frozenset().union(*(self._named[name] for name in names)))

    def relink(self, heard: float) -> None:
        """Tell workers of links that came up or went down, as was ``heard`` (monotonic seconds)."""
        links = self.links
        for keeper in self.keepers.values():
            if keeper.configured and keeper.roster is not None:
                before, keeper.roster = keeper.roster, relink(keeper.roster, links)
                if keeper.roster is not before:
                    keeper.account.owe(heard)

    def nudge(self, functions: Set[Bdf | None]) -> None:
        """Have workers look at these functions' devices; None (an IOMMU group's): at all others."""
        for pool, devices in touched(functions, self.rosters).items():
            self.keepers[pool].nudge(devices)
        if None in functions:
            for keeper in self.keepers.values():
                keeper.nudge_all()

    def configure(self, config: NodeConfig) -> None:
        """Serve the pools of a configuration from now on; what a look found for it comes next."""
        self.config = config
        names = {pool.spec.name for pool in config.pools}
        for name, keeper in self.keepers.items():
            if name not in names:
                keeper.configured = False
                keeper.event(Unwanted())

    def take_over(self) -> None:
        """Adopt the living workers that an earlier supervisor left.

        Those of pools that are configured no more are asked to leave; their files are removed.
        """
        for path in sorted((self._options.run_dir / "pools").glob("*.lock")):
            name = pool_of(path.stem)
            keeper = self.keepers.get(name) or self._keeper(name)
            try:
                met = keeper.meet()
            except OSError as error:  # whoever wants to start a worker for it finds that, too
                log.warning("a pool's worker can't be adopted", extra={"pool": name, "why": error})
                continue
            if name in self.keepers:
                continue
            keeper.configured = False
            keeper.event(Unwanted())
            if met:
                self.keepers[name] = keeper
            else:
                keeper.forget()

    def catch_up(self) -> None:
        """Have pools take in the last look that could not while they were adopted."""
        if self._node is not None and self._adopted:
            self.apply()

    @property
    def _adopted(self) -> frozenset[PoolName]:
        """Pools that could not take in the last look, and now can."""
        return frozenset(
            name
            for name in self._late
            if name in self.keepers and not self.keepers[name].is_adopting
        )

    def leave(self) -> None:
        """Ask every worker to leave."""
        for keeper in self.keepers.values():
            keeper.event(Unwanted())

    def forget_departed(self) -> None:
        """Drop the keepers of pools that are configured no more and have no worker any more."""
        for name in [
            name
            for name, keeper in self.keepers.items()
            if not keeper.configured and keeper.has_ended
        ]:
            self.keepers.pop(name).forget()

    def apply(self) -> tuple[PoolName, ...]:
        """Assign what was last seen by the configuration in force; the pools that this changed."""
        changed = []
        if self._node is not None and (adopted := self._adopted):
            self._late -= adopted
            recalled = _recalled(self.keepers[name] for name in adopted)
            self._node = remember(recalled, self._node)
        found = self._node
        keepers = {pool.spec.name: self._configured(pool.spec.name) for pool in self.config.pools}
        if found is None:
            return ()
        if self.pod_devices is None:
            # What their workers recall of the node is added when they are adopted.
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
            before = keeper.roster or Roster(pool.spec)
            in_use = self.in_use(name).keys()
            held = msgspec.structs.replace(before, in_use=absent(pool, in_use))
            retained = kept(pool, found, in_use, taken)
            self._kept.update(retained)
            present = {**assigned.devices[name], **retained}
            keeper.roster = advance(
                held,
                pool,
                {d: linked(device, links) for d, device in sorted(present.items())},
                taken,
                found,
                now=monotonic(),
                grace_s=self._options.gone_grace_s,
            )
            taken.update(keeper.roster.devices)
            if keeper.roster.devices:
                keeper.event(Wanted())
            elif keeper.roster.generation != before.generation:
                log.info("pool has no devices", extra={"pool": name, "why": NO_DEVICES})
            if keeper.roster.generation != before.generation:
                changed.append(name)
        return tuple(changed)

    def _configured(self, name: PoolName) -> Keeper:
        keeper = self.keepers.get(name)
        if keeper is None:
            keeper = self.keepers[name] = self._keeper(name)
            if self.pod_devices is not None:
                keeper.take_pods(self.pod_devices)
        if not keeper.configured:
            # It comes back with nothing: a roster of before was for another configuration.
            keeper.configured = True
            keeper.roster = None
        return keeper

    def _take_in_some(self, look: Look, looked: frozenset[Bdf]) -> None:
        """What a look at a few functions found: all else is as it was."""
        self._report(dict.fromkeys((*self.problems, *look.problems)))
        self._node = self.known(merged(self._node or Node(), look.node, looked))
        self._named = named(self._node)
        if has_network(look.node):
            self._rescan_at = min(self._rescan_at, monotonic() + AGAIN_S)

    def _report(self, problems: Iterable[str]) -> None:
        now = tuple(problems)
        for problem in now:
            if problem not in self.problems:
                log.warning(problem)
        self.problems = now


def _recalled(keepers: Iterable[Keeper]) -> Node:
    """What an earlier supervisor saw of the devices that adopted workers hold."""
    rosters = (keeper.roster for keeper in keepers if keeper.roster is not None)
    return seen_in(device for roster in rosters for device in roster.devices.values())

"""One resolved request for a preferred allocation, and the candidates that the NUMA rule leaves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import msgspec

from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.topology import DeviceTopology


class Bridge(msgspec.Struct, frozen=True):
    """A bridge of the pool with available devices."""

    numa: int
    address: Bdf
    devices: tuple[DeviceId, ...]
    """Available devices, sorted."""
    included: int
    """Number of devices below it that must be included."""
    begun: int
    """Number of the pool's devices below it that are not available: used, Unhealthy or included."""

    @property
    def size(self) -> int:
        """The number of available devices."""
        return len(self.devices)


class PreferredRequest(msgspec.Struct, frozen=True):
    """A request: the number of devices to choose, and the available ones."""

    places: Mapping[DeviceId, DeviceTopology]
    """Positions of the pool's devices, as far as they are known."""
    included: tuple[DeviceId, ...]
    free: tuple[DeviceId, ...]
    """Available devices without the included ones, sorted."""
    needed: int
    """The number to choose from ``free``: at least one, and no more than there are."""
    bridges: tuple[Bridge, ...]
    """Bridges by NUMA node and address."""
    touched: frozenset[int]
    """NUMA nodes of the included devices."""
    may_cross: bool
    room: Mapping[int, int]
    """Number of available devices by NUMA node, for nodes with any."""

    def extra_nodes(self) -> int:
        """Return the minimum number of NUMA nodes in addition to the touched ones."""
        left = self.needed - sum(self.room.get(node, 0) for node in self.touched)
        rooms = sorted(
            (room for node, room in self.room.items() if node not in self.touched), reverse=True
        )
        count = 0
        while left > 0:
            left -= rooms[count]
            count += 1
        return count

    def numa_sets(self, budget: Budget) -> Iterator[frozenset[int]]:
        """Yield the smallest sufficient sets of NUMA nodes, in order; raise BudgetError."""
        others = sorted(self.room.keys() - self.touched)
        for further in combinations(others, self.extra_nodes()):
            budget.spend(1)
            reach = self.touched.union(further)
            if sum(self.room.get(node, 0) for node in reach) >= self.needed:
                yield reach

    def sorted_choice(self, chosen: Iterable[DeviceId]) -> tuple[DeviceId, ...]:
        """Return the first chosen devices, as many as needed, and the included ones; sorted."""
        taken = [device for device, _ in zip(chosen, range(self.needed), strict=False)]
        return tuple(sorted((*self.included, *taken)))


def build_request(
    places: Mapping[DeviceId, DeviceTopology],
    included: tuple[DeviceId, ...],
    free: tuple[DeviceId, ...],
    needed: int,
    *,
    may_cross: bool,
) -> PreferredRequest:
    """Return the request with the bridges of its available devices."""
    groups: dict[tuple[int, Bdf], list[DeviceId]] = {}
    for device in free:
        groups.setdefault(places[device].group_key, []).append(device)
    all_of_them = Counter(place.group_key for place in places.values())
    musts = Counter(places[device].group_key for device in included)
    bridges = tuple(
        Bridge(*where, tuple(groups[where]), musts[where], all_of_them[where] - len(groups[where]))
        for where in sorted(groups)
    )
    room: dict[int, int] = {}
    for bridge in bridges:
        room[bridge.numa] = room.get(bridge.numa, 0) + bridge.size
    touched = frozenset(places[device].numa for device in included)
    return PreferredRequest(places, included, free, needed, bridges, touched, may_cross, room)

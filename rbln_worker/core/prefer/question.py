"""One request of which everything is known, and what the NUMA rule leaves to choose from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import msgspec

from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.core.prefer.budget import Budget
from rbln_worker.core.prefer.place import Place


class Bridge(msgspec.Struct, frozen=True):
    """A bridge of the pool that has devices to choose from."""

    numa: int
    address: Bdf
    devices: tuple[DeviceId, ...]
    """To choose from, sorted."""
    included: int
    """Devices below it that must be included."""
    begun: int
    """Devices of the pool below it that are not to choose from: used, sick, or included."""

    @property
    def size(self) -> int:
        """How many devices there are to choose from."""
        return len(self.devices)


class Question(msgspec.Struct, frozen=True):
    """What to choose, and from what."""

    places: Mapping[DeviceId, Place]
    """Of all devices of the pool of which it is known."""
    included: tuple[DeviceId, ...]
    free: tuple[DeviceId, ...]
    """To choose from, sorted, without the included ones."""
    needed: int
    """How many of them: at least one, and no more than there are."""
    bridges: tuple[Bridge, ...]
    """By NUMA node and address."""
    touched: frozenset[int]
    """NUMA nodes of the included devices."""
    may_cross: bool
    room: Mapping[int, int]
    """Devices to choose from by NUMA node, where there are any."""

    def further(self) -> int:
        """How many NUMA nodes have to be touched beyond those that are."""
        left = self.needed - sum(self.room.get(node, 0) for node in self.touched)
        rooms = sorted(
            (room for node, room in self.room.items() if node not in self.touched), reverse=True
        )
        count = 0
        while left > 0:
            left -= rooms[count]
            count += 1
        return count

    def reaches(self, budget: Budget) -> Iterator[frozenset[int]]:
        """The sets of fewest NUMA nodes that hold the request, in order; Spent."""
        others = sorted(self.room.keys() - self.touched)
        for further in combinations(others, self.further()):
            budget.spend(1)
            reach = self.touched.union(further)
            if sum(self.room.get(node, 0) for node in reach) >= self.needed:
                yield reach

    def answer(self, chosen: Iterable[DeviceId]) -> tuple[DeviceId, ...]:
        """The first of the chosen ones, as many as are needed, and the included ones; sorted."""
        taken = [device for device, _ in zip(chosen, range(self.needed), strict=False)]
        return tuple(sorted((*self.included, *taken)))


def question(
    places: Mapping[DeviceId, Place],
    included: tuple[DeviceId, ...],
    free: tuple[DeviceId, ...],
    needed: int,
    *,
    may_cross: bool,
) -> Question:
    """The request, with the bridges of the devices that it offers."""
    groups: dict[tuple[int, Bdf], list[DeviceId]] = {}
    for device in free:
        groups.setdefault(places[device].below, []).append(device)
    all_of_them = Counter(place.below for place in places.values())
    musts = Counter(places[device].below for device in included)
    bridges = tuple(
        Bridge(*where, tuple(groups[where]), musts[where], all_of_them[where] - len(groups[where]))
        for where in sorted(groups)
    )
    room: dict[int, int] = {}
    for bridge in bridges:
        room[bridge.numa] = room.get(bridge.numa, 0) + bridge.size
    touched = frozenset(places[device].numa for device in included)
    return Question(places, included, free, needed, bridges, touched, may_cross, room)

"""Which devices of a pool go best together: on few NUMA nodes, and there below few bridges.

Where all of a request's devices are of a known product, the answer is the best there is by, in this
order: NUMA nodes that are touched; bridges that are touched; devices left over below those bridges;
devices left over on the NUMA node, where it is one; the numbers of the NUMA nodes, the addresses of
the bridges, the addresses of the devices. The devices that must be included count as touched.

That is never wider than the reference's choice, which picks NUMA nodes and bridges at random where
they tie, and with allowCrossNuma spreads what one NUMA node could hold. The time is polynomial:
what choices of bridges add up to is a set of bits, and a bridge is added to it by a shift.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.pool import PoolSpec


class Card(msgspec.Struct, frozen=True):
    """How a product sits in a server."""

    bridge: int
    """Which of a device's bridges, counted from the root port, its group shares."""
    numa_most: int
    """As many devices a NUMA node has at most: whoever asks for more means to cross."""


_CA25: Final = Card(bridge=2, numa_most=16)
_CA22: Final = Card(bridge=1, numa_most=8)
CARDS: Final[Mapping[str, Card]] = {"1250": _CA25, "1251": _CA25, "1220": _CA22, "1221": _CA22}
"""By PCI device id, physical and virtual functions."""


class Place(msgspec.Struct, frozen=True):
    """Where a device sits."""

    numa: int
    """-1 where the kernel knows none: such devices count as one node's."""
    bridge: Bdf
    numa_most: int


class Layout(msgspec.Struct, frozen=True):
    """Where the devices of a pool sit; None for one of which it is not known."""

    places: Mapping[DeviceId, Place | None] = {}
    may_cross: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The pool's devices may not be spread over NUMA nodes, and no node has enough of them."""

    why: str


def layout(pool: PoolSpec, devices: Iterable[Device]) -> Layout:
    """The layout of a pool."""
    return Layout({device.id: _place(device) for device in devices}, pool.allow_cross_numa)


def choose(
    known: Layout, available: Iterable[str], must: Iterable[str], size: int
) -> tuple[DeviceId, ...] | Refused:
    """The devices to prefer, sorted; nothing where the kubelet may choose as it likes.

    Whatever is asked: names that are no devices of the pool are passed over, and a size that can't
    be had is answered with what must be included, or with all there is.
    """
    included = sorted({DeviceId(name) for name in must} & known.places.keys())
    offered = {DeviceId(name) for name in available} & known.places.keys()
    others = sorted(offered.difference(included))
    if size <= len(included):
        return tuple(included)
    places = {device: known.places[device] for device in (*included, *others)}
    seats = {device: place for device, place in places.items() if place is not None}
    if len(seats) < len(places) or not seats:
        return ()
    return _Choice(seats, included, others, size).best(
        may_cross=known.may_cross or size > max(seat.numa_most for seat in seats.values())
    )


def _place(device: Device) -> Place | None:
    function = device.function
    card = CARDS.get(function.product)
    if card is None or len(function.bridges) <= card.bridge:
        return None  # another product, or a virtual machine's bus: the reference has no answer
    numa = -1 if function.numa_node is None else function.numa_node
    return Place(numa, function.bridges[card.bridge], card.numa_most)


class _Bridge(msgspec.Struct, frozen=True):
    numa: int
    address: Bdf
    devices: tuple[DeviceId, ...]

    @property
    def where(self) -> tuple[int, Bdf]:
        return self.numa, self.address

    @property
    def size(self) -> int:
        return len(self.devices)


class _Choice:
    """One request of which everything is known."""

    def __init__(
        self,
        seats: Mapping[DeviceId, Place],
        included: Sequence[DeviceId],
        others: Sequence[DeviceId],
        size: int,
    ) -> None:
        self._included = included
        self._others = others
        self._size = size
        self._touched_nodes = {seats[device].numa for device in included}
        touched = {(seats[device].numa, seats[device].bridge) for device in included}
        groups: dict[tuple[int, Bdf], list[DeviceId]] = {}
        for device in others:
            groups.setdefault((seats[device].numa, seats[device].bridge), []).append(device)
        bridges = [_Bridge(*where, tuple(groups[where])) for where in sorted(groups)]
        self._touched = [bridge for bridge in bridges if bridge.where in touched]
        self._untouched = [bridge for bridge in bridges if bridge.where not in touched]
        self._room: dict[int, int] = {}
        """Devices to choose from by NUMA node."""
        for bridge in bridges:
            self._room[bridge.numa] = self._room.get(bridge.numa, 0) + bridge.size

    def best(self, *, may_cross: bool) -> tuple[DeviceId, ...] | Refused:
        needed = self._size - len(self._included)
        if needed > len(self._others):
            return tuple(sorted((*self._included, *self._others))) if may_cross else self._refused()
        nodes = self._further_nodes(needed)
        if not may_cross and len(self._touched_nodes) + nodes > 1:
            return self._refused()
        chosen = self._bridges(needed - _devices(self._touched), nodes)
        # The bridges that are touched anyway first, of the others the smallest last: that one alone
        # keeps devices, because without it the rest would not have been enough.
        order = [
            *sorted(self._touched, key=lambda bridge: bridge.size),
            *sorted(chosen, key=lambda bridge: -bridge.size),
        ]
        taken = [device for bridge in order for device in bridge.devices][:needed]
        return tuple(sorted((*self._included, *taken)))

    def _refused(self) -> Refused:
        return Refused(
            "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
            f"(>= {self._size}) found, topology-aware allocation failed"
        )

    def _further_nodes(self, needed: int) -> int:
        """How many NUMA nodes have to be touched beyond those that are."""
        left = needed - sum(self._room.get(node, 0) for node in self._touched_nodes)
        rooms = sorted(
            (room for node, room in self._room.items() if node not in self._touched_nodes),
            reverse=True,
        )
        count = 0
        while left > 0:
            left -= rooms[count]
            count += 1
        return count

    def _bridges(self, needed: int, nodes: int) -> Sequence[_Bridge]:
        """The bridges to touch further, for so many devices on so many further NUMA nodes."""
        if needed <= 0:
            return ()
        if nodes == len(self._room.keys() - self._touched_nodes):  # all of them
            return _fewest(self._untouched, needed, 0, self._room.keys())
        if nodes > 1:
            return _fewest(self._untouched, needed, nodes, self._touched_nodes)
        if nodes == 0:
            return _fewest(self._on(self._touched_nodes), needed, 0, self._touched_nodes)
        tries = []
        for node in sorted(self._room.keys() - self._touched_nodes):
            reach = {*self._touched_nodes, node}
            near = self._on(reach)
            if _devices(near) >= needed:
                tries.append((_fewest(near, needed, 0, reach), self._room[node]))
        return min(tries, key=lambda tried: (len(tried[0]), _devices(tried[0]), tried[1]))[0]

    def _on(self, nodes: Container[int]) -> Sequence[_Bridge]:
        return [bridge for bridge in self._untouched if bridge.numa in nodes]


def _fewest(
    bridges: Sequence[_Bridge], needed: int, nodes: int, free_nodes: Iterable[int]
) -> Sequence[_Bridge]:
    """The fewest bridges with so many devices; of those the fewest devices; then the first.

    ``bridges`` are sorted by NUMA node. At most ``nodes`` NUMA nodes are touched that are not among
    ``free_nodes``; the caller knows that this is enough.
    """
    free = frozenset(free_nodes)
    room = Counter[int]()
    for bridge in bridges:
        room[bridge.numa] += 0 if bridge.numa in free else bridge.size
    # A bound: so many are enough on the NUMA nodes that have most, and fewer may do on others.
    reach = free.union(node for node, _ in room.most_common(nodes))
    sizes = sorted((bridge.size for bridge in bridges if bridge.numa in reach), reverse=True)
    most = next(count for count, sum_ in enumerate(accumulate(sizes), 1) if sum_ >= needed)
    sums = _Sums(bridges, free, nodes, most, needed)
    for count in range(1, most + 1):
        total = _lowest(sums.at(0, nodes, count, paid=False), needed)
        if total is not None:
            return tuple(sums.walk(nodes, count, total))
    raise AssertionError("the bound was none")


class _Sums:
    """What choices among the bridges from the i-th on add up to.

    ``at(i, nodes, count, paid)``: the sums of ``count`` bridges on at most ``nodes`` further NUMA
    nodes, as bits; ``paid``: the i-th bridge's node is touched already.
    """

    def __init__(
        self,
        bridges: Sequence[_Bridge],
        free: frozenset[int],
        nodes: int,
        most: int,
        needed: int,
    ) -> None:
        self._bridges = bridges
        self._free = free
        # The best sum is below this: without its smallest bridge it would not be enough.
        self._mask = (1 << (needed + max(bridge.size for bridge in bridges))) - 1
        self._table: list[dict[tuple[int, int, bool], int]] = [{}] * len(bridges)
        for i in reversed(range(len(bridges))):
            self._table[i] = {
                (left, count, paid): self._sums(i, left, count, paid=paid)
                for left in range(nodes + 1)
                for count in range(1, min(most, len(bridges) - i) + 1)
                for paid in ((True,) if bridges[i].numa in free else (False, True))
            }

    def at(self, i: int, nodes: int, count: int, *, paid: bool) -> int:
        if count == 0:
            return 1
        if i == len(self._bridges) or nodes < 0:
            return 0
        paid = paid or self._bridges[i].numa in self._free
        return self._table[i].get((nodes, count, paid), 0)

    def walk(self, nodes: int, count: int, total: int) -> Iterator[_Bridge]:
        """The first choice that comes to the sum, bridge by bridge."""
        paid = False
        for i, bridge in enumerate(self._bridges):
            if count == 0:
                return
            cost = self._cost(i, paid=paid)
            rest = self._taken(i, nodes - cost, count)
            if total >= bridge.size and rest >> (total - bridge.size) & 1:
                yield bridge
                nodes, count, total, paid = nodes - cost, count - 1, total - bridge.size, True
            paid = paid and self._same_node(i)

    def _sums(self, i: int, nodes: int, count: int, *, paid: bool) -> int:
        without = self.at(i + 1, nodes, count, paid=paid and self._same_node(i))
        with_it = self._taken(i, nodes - self._cost(i, paid=paid), count)
        return (without | with_it << self._bridges[i].size) & self._mask

    def _taken(self, i: int, nodes: int, count: int) -> int:
        return self.at(i + 1, nodes, count - 1, paid=self._same_node(i)) if nodes >= 0 else 0

    def _cost(self, i: int, *, paid: bool) -> int:
        return 0 if paid or self._bridges[i].numa in self._free else 1

    def _same_node(self, i: int) -> bool:
        """The next bridge lies on the same NUMA node."""
        return i + 1 < len(self._bridges) and self._bridges[i + 1].numa == self._bridges[i].numa


def _devices(bridges: Iterable[_Bridge]) -> int:
    return sum(bridge.size for bridge in bridges)


def _lowest(bits: int, least: int) -> int | None:
    """The lowest bit that is set at or above ``least``."""
    above = bits >> least
    return None if not above else least + (above & -above).bit_length() - 1

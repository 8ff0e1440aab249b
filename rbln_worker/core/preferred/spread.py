"""The policy ``spread``: use as many NUMA nodes, bridges and physical functions as possible.

This is for bandwidth. The number of each is as high as possible: no choice has more of one for less
of another. After that each further device is taken where the fewest of the pool's devices are used
or chosen: below the bridge, then on the physical function; then by address. A pool that must not
cross NUMA nodes uses one: the one with the most bridges, then physical functions, for this request;
then the least used one. Devices that must be included count as touched, devices that the request
does not offer as used.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.request import Bridge, PreferredRequest

_STEPS_OFFERED: Final = 2
_STEPS_TAKEN: Final = 6
"""Steps for an offered device, and for a taken one."""


class _SpreadChoice(NamedTuple):
    bridges: int
    pfs: int
    used: int
    chosen: Collection[DeviceId]


def best_spread(request: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise BudgetError."""
    used = Counter(place.pf for place in request.places.values())
    used.subtract(request.places[device].pf for device in request.free)
    if request.may_cross:
        tries = [_spread_over(request, frozenset(request.room), used, budget)]
    else:
        tries = [_spread_over(request, reach, used, budget) for reach in request.numa_sets(budget)]
    return request.sorted_choice(min(tries, key=lambda tried: tried[:3]).chosen)


def _spread_over(
    request: PreferredRequest, reach: frozenset[int], used: Mapping[Bdf, int], budget: Budget
) -> _SpreadChoice:
    budget.spend(_STEPS_TAKEN * request.needed)
    budget.spend(_STEPS_OFFERED * sum(request.room.get(node, 0) for node in reach))
    places = request.places
    touched = {places[device].pf for device in request.included}
    sources = [
        _Source(bridge, request, used, touched)
        for bridge in request.bridges
        if bridge.numa in reach
    ]
    chosen = _first_of_nodes(request, sources)
    # No two sources have the same key: addresses differ, or at least the NUMA nodes.
    heap = [(source.key(), source) for source in sources if source.left]
    heapify(heap)
    while len(chosen) < request.needed:
        _, source = heappop(heap)
        chosen.append(source.take())
        if source.left:
            heappush(heap, (source.key(), source))
    return _SpreadChoice(
        bridges=-len({places[device].group_key for device in chosen}),
        pfs=-len({places[device].pf for device in chosen} - touched),
        used=sum(source.bridge.begun for source in sources),
        chosen=chosen,
    )


def _first_of_nodes(request: PreferredRequest, sources: Collection["_Source"]) -> list[DeviceId]:
    """Return one device of each NUMA node that is not touched."""
    firsts: dict[int, _Source] = {}
    for source in sorted(sources, key=_Source.key):
        if source.bridge.numa not in request.touched:
            firsts.setdefault(source.bridge.numa, source)
    return [source.take() for source in list(firsts.values())[: request.needed]]


class _Source:
    """A bridge from which devices are taken one by one, from each physical function in turn."""

    def __init__(
        self,
        bridge: Bridge,
        request: PreferredRequest,
        used: Mapping[Bdf, int],
        touched: Collection[Bdf],
    ) -> None:
        self.bridge = bridge
        self.left = bridge.size
        self._touched = bridge.included > 0
        self._devices: dict[Bdf, list[DeviceId]] = {}
        for device in reversed(bridge.devices):  # the first is taken first, from the end
            self._devices.setdefault(request.places[device].pf, []).append(device)
        self._pfs = [(pf in touched, used[pf], pf) for pf in self._devices]
        heapify(self._pfs)

    def key(self) -> tuple[bool, bool, int, Bdf, int]:
        """Return the priority: the lowest source is next; undefined when nothing is left."""
        begun = self.bridge.begun + self.bridge.size - self.left
        return self._touched, self._pfs[0][0], begun, self.bridge.address, self.bridge.numa

    def take(self) -> DeviceId:
        """Take the next device."""
        _, used, pf = heappop(self._pfs)
        devices = self._devices[pf]
        device = devices.pop()
        if devices:
            heappush(self._pfs, (True, used + 1, pf))
        self._touched = True
        self.left -= 1
        return device

"""The policy ``packed``: fill started bridges, so that whole cards stay free.

The best choice has, in this order: the fewest NUMA nodes; the fewest whole bridges started (whole:
all of the pool's devices below it are available); the most used bridges, counted for each chosen
device; the fewest devices left over below the bridges that it starts; the most used NUMA nodes; the
lowest numbers of NUMA nodes and addresses of bridges. Below a bridge the most used physical
functions are filled first.

A used device is a device of the pool that the request does not offer: the kubelet gave it to a
container, or it is Unhealthy. Devices that must be included count as used.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.fewest import fill_bridges
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


def best_packed(request: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise BudgetError."""
    nodes_used = Counter(place.numa for place in request.places.values())
    nodes_used.subtract(request.room)

    def cost(
        reach: frozenset[int], filled: Sequence[Bridge], chosen: Sequence[Bridge]
    ) -> tuple[int, ...]:
        used = _used_count(filled, request.needed)
        below_them = sum(bridge.size for bridge in chosen)
        return len(chosen), -used, below_them, -sum(nodes_used[node] for node in reach)

    begun = sorted(
        (bridge for bridge in request.bridges if bridge.begun),
        key=lambda bridge: (-bridge.begun, bridge.size),
    )
    order = fill_bridges(request, begun, cost, budget)
    return request.sorted_choice(_devices_in_order(request, order))


def _used_count(filled: Sequence[Bridge], needed: int) -> int:
    total = 0
    for bridge in filled:
        taken = min(needed, bridge.size)
        total += taken * bridge.begun
        needed -= taken
    return total


def _devices_in_order(request: PreferredRequest, order: Iterable[Bridge]) -> Iterator[DeviceId]:
    places = request.places
    used = Counter(place.pf for place in places.values())
    used.subtract(places[device].pf for device in request.free)
    for bridge in order:
        yield from sorted(
            bridge.devices, key=lambda one: (-used[places[one].pf], places[one].pf, one)
        )

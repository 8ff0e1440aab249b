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
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.fewest import fewest_bridges
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


class _PackedChoice(NamedTuple):
    whole: int
    used: int
    below_them: int
    nodes_used: int
    filled: Sequence[Bridge]
    chosen: Sequence[Bridge]


def best_packed(request: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise BudgetError."""
    nodes_used = Counter(place.numa for place in request.places.values())
    nodes_used.subtract(request.room)
    budget.spend(len(request.bridges))
    begun = sorted(
        (bridge for bridge in request.bridges if bridge.begun),
        key=lambda bridge: (-bridge.begun, bridge.size),
    )
    whole = [bridge for bridge in request.bridges if not bridge.begun]
    tries = []
    for reach in request.numa_sets(budget):
        filled = [bridge for bridge in begun if bridge.numa in reach]
        left = request.needed - sum(bridge.size for bridge in filled)
        near = [bridge for bridge in whole if bridge.numa in reach]
        chosen = fewest_bridges(near, left, budget)
        tries.append(
            _PackedChoice(
                len(chosen),
                -_used_count(filled, request.needed),
                sum(bridge.size for bridge in chosen),
                -sum(nodes_used[node] for node in reach),
                filled,
                chosen,
            )
        )
    found = min(tries, key=lambda tried: tried[:4])
    order = [*found.filled, *sorted(found.chosen, key=lambda bridge: -bridge.size)]
    return request.sorted_choice(_devices_in_order(request, order))


def _used_count(filled: Sequence[Bridge], needed: int) -> int:
    total = 0
    for bridge in filled:
        taken = min(needed, bridge.size)
        total += taken * bridge.begun
        needed -= taken
    return total


def _devices_in_order(request: PreferredRequest, order: Sequence[Bridge]) -> Iterator[DeviceId]:
    places = request.places
    used = Counter(place.pf for place in places.values())
    used.subtract(places[device].pf for device in request.free)
    for bridge in order:
        yield from sorted(
            bridge.devices, key=lambda one: (-used[places[one].pf], places[one].pf, one)
        )

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
from rbln_worker.core.preferred.fewest import fewest
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


class _Try(NamedTuple):
    whole: int
    used: int
    below_them: int
    nodes_used: int
    filled: Sequence[Bridge]
    chosen: Sequence[Bridge]


def best(question: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise Spent."""
    nodes_used = Counter(place.numa for place in question.places.values())
    nodes_used.subtract(question.room)
    budget.spend(len(question.bridges))
    begun = sorted(
        (bridge for bridge in question.bridges if bridge.begun),
        key=lambda bridge: (-bridge.begun, bridge.size),
    )
    whole = [bridge for bridge in question.bridges if not bridge.begun]
    tries = []
    for reach in question.reaches(budget):
        filled = [bridge for bridge in begun if bridge.numa in reach]
        left = question.needed - sum(bridge.size for bridge in filled)
        near = [bridge for bridge in whole if bridge.numa in reach]
        chosen = fewest(near, left, budget)
        tries.append(
            _Try(
                len(chosen),
                -_used(filled, question.needed),
                sum(bridge.size for bridge in chosen),
                -sum(nodes_used[node] for node in reach),
                filled,
                chosen,
            )
        )
    found = min(tries, key=lambda tried: tried[:4])
    order = [*found.filled, *sorted(found.chosen, key=lambda bridge: -bridge.size)]
    return question.answer(_devices(question, order))


def _used(filled: Sequence[Bridge], needed: int) -> int:
    total = 0
    for bridge in filled:
        taken = min(needed, bridge.size)
        total += taken * bridge.begun
        needed -= taken
    return total


def _devices(question: PreferredRequest, order: Sequence[Bridge]) -> Iterator[DeviceId]:
    places = question.places
    used = Counter(place.pf for place in places.values())
    used.subtract(places[device].pf for device in question.free)
    for bridge in order:
        yield from sorted(
            bridge.devices, key=lambda one: (-used[places[one].pf], places[one].pf, one)
        )

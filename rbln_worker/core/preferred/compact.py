"""The policy ``topology``: the fewest NUMA nodes and bridges, with the fewest devices left over.

The best choice has, in this order: the fewest NUMA nodes; the fewest bridges; the fewest devices
left over below those bridges (fragmentation: a card that is started but not used up); the fewest
devices left over on the NUMA nodes; the lowest numbers of NUMA nodes, addresses of bridges and
addresses of devices. Devices that must be included count as touched. Devices that other containers
use do not: they may be free in a minute, and two bridges stay two.

The choice is never wider than the reference's, which picks NUMA nodes and bridges at random in a
tie, and with allowCrossNuma spreads a request that would fit on one NUMA node.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.fewest import fewest_bridges
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


class _CompactChoice(NamedTuple):
    bridges: int
    below_them: int
    on_the_nodes: int
    chosen: Sequence[Bridge]


def best_compact(request: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise BudgetError."""
    touched = sorted(
        (bridge for bridge in request.bridges if bridge.included), key=lambda bridge: bridge.size
    )
    left = request.needed - sum(bridge.size for bridge in touched)
    tries = []
    for reach in request.numa_sets(budget):
        near = [
            bridge for bridge in request.bridges if bridge.numa in reach and not bridge.included
        ]
        chosen = fewest_bridges(near, left, budget)
        below_them = sum(bridge.size for bridge in chosen)
        room = sum(request.room.get(node, 0) for node in reach)
        tries.append(_CompactChoice(len(chosen), below_them, room, chosen))
    chosen = min(tries, key=lambda tried: tried[:3]).chosen
    # The bridges that are touched anyway come first, of the others the smallest last: only that one
    # keeps devices, because without it the others would not have been enough.
    order = [*touched, *sorted(chosen, key=lambda bridge: -bridge.size)]
    return request.sorted_choice(device for bridge in order for device in bridge.devices)

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

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.fewest import fill_bridges
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


def best_compact(request: PreferredRequest, budget: Budget) -> tuple[DeviceId, ...]:
    """Return the choice, sorted; raise BudgetError."""

    def cost(
        reach: frozenset[int], _: Sequence[Bridge], chosen: Sequence[Bridge]
    ) -> tuple[int, ...]:
        below_them = sum(bridge.size for bridge in chosen)
        on_the_nodes = sum(request.room.get(node, 0) for node in reach)
        return len(chosen), below_them, on_the_nodes

    touched = sorted(
        (bridge for bridge in request.bridges if bridge.included), key=lambda bridge: bridge.size
    )
    order = fill_bridges(request, touched, cost, budget)
    return request.sorted_choice(device for bridge in order for device in bridge.devices)

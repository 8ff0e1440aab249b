"""Close together: on the fewest NUMA nodes, below the fewest bridges, with the least left over.

The best by, in this order: NUMA nodes that are touched; bridges that are touched; devices that are
left over below those bridges (that is what fragmentation means here: a card that is begun and not
used up); devices that are left over on the NUMA nodes; the numbers of the NUMA nodes, the addresses
of the bridges, the addresses of the devices. What must be included counts as touched. What other
containers use does not: they may be gone in a minute, and two bridges stay two.

That is never wider than the reference's choice, which picks NUMA nodes and bridges at random where
they tie, and with allowCrossNuma spreads what one NUMA node could hold.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.prefer.budget import Budget
from rbln_worker.core.prefer.fewest import fewest
from rbln_worker.core.prefer.question import Bridge, Question


class _Try(NamedTuple):
    bridges: int
    below_them: int
    on_the_nodes: int
    chosen: Sequence[Bridge]


def best(question: Question, budget: Budget) -> tuple[DeviceId, ...]:
    """The choice, sorted; Spent."""
    touched = sorted(
        (bridge for bridge in question.bridges if bridge.included), key=lambda bridge: bridge.size
    )
    left = question.needed - sum(bridge.size for bridge in touched)
    tries = []
    for reach in question.reaches(budget):
        near = [
            bridge for bridge in question.bridges if bridge.numa in reach and not bridge.included
        ]
        chosen = fewest(near, left, budget)
        below_them = sum(bridge.size for bridge in chosen)
        room = sum(question.room.get(node, 0) for node in reach)
        tries.append(_Try(len(chosen), below_them, room, chosen))
    chosen = min(tries, key=lambda tried: tried[:3]).chosen
    # The bridges that are touched anyway first, of the others the smallest last: that one alone
    # keeps devices, because without it the rest would not have been enough.
    order = [*touched, *sorted(chosen, key=lambda bridge: -bridge.size)]
    return question.answer(device for bridge in order for device in bridge.devices)

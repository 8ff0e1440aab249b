"""Search for the fewest bridges with enough devices; of those the fewest devices; then the first.

The possible sums of devices are a set of bits, and a bridge is added to it by a shift. That is
polynomial; trying all combinations would take years.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.request import Bridge, PreferredRequest

_BITS_A_STEP: Final = 2048
"""Number of bits that are shifted in about the time that Python needs for the rest of a step."""


Cost = Callable[[frozenset[int], Sequence[Bridge], Sequence[Bridge]], tuple[int, ...]]
"""Cost of a choice: its NUMA nodes, the bridges that are filled first, the further ones."""


def fill_bridges(
    request: PreferredRequest, first: Sequence[Bridge], cost: Cost, budget: Budget
) -> tuple[Bridge, ...]:
    """Return the bridges of the cheapest choice, in the order to fill them; raise BudgetError.

    ``first`` are the bridges that are filled before others, in their order.
    """
    budget.spend(len(request.bridges))
    filled_first = frozenset(first)
    tries = []
    for reach in request.numa_sets(budget):
        filled = [bridge for bridge in first if bridge.numa in reach]
        near = [one for one in request.bridges if one.numa in reach and one not in filled_first]
        left = request.needed - sum(bridge.size for bridge in filled)
        chosen = fewest_bridges(near, left, budget)
        tries.append((cost(reach, filled, chosen), filled, chosen))
    _, filled, chosen = min(tries, key=lambda tried: tried[0])
    # The smallest is the last: only that one keeps devices, because without it the others would
    # not have been enough.
    return (*filled, *sorted(chosen, key=lambda bridge: -bridge.size))


def fewest_bridges(bridges: Sequence[Bridge], needed: int, budget: Budget) -> Sequence[Bridge]:
    """Return the choice; raise BudgetError.

    ``bridges`` together have at least ``needed`` devices.
    """
    if needed <= 0:
        return ()
    sizes = sorted((bridge.size for bridge in bridges), reverse=True)
    count = next(n for n, total in enumerate(accumulate(sizes), 1) if total >= needed)
    # The best sum is below this: without its smallest bridge it would not be enough.
    bits = needed + sizes[0]
    budget.spend(len(bridges) * count * (1 + bits // _BITS_A_STEP))
    sums = _possible_sums(bridges, count, (1 << bits) - 1)
    above = sums[0][count] >> needed
    total = needed + (above & -above).bit_length() - 1
    return tuple(_first_choice(bridges, sums, count, total))


def _possible_sums(bridges: Sequence[Bridge], most: int, mask: int) -> list[list[int]]:
    """Return ``[i][n]``: the possible sums of n bridges from the i-th on, as bits."""
    after = [1, *[0] * most]
    rows = [after]
    for bridge in reversed(bridges):
        after = [
            1,
            *((same | (fewer << bridge.size)) & mask for fewer, same in pairwise(after)),
        ]
        rows.append(after)
    rows.reverse()
    return rows


def _first_choice(
    bridges: Sequence[Bridge], sums: Sequence[Sequence[int]], count: int, total: int
) -> Iterator[Bridge]:
    """Yield the first choice with the sum, bridge by bridge."""
    for bridge, rest in zip(bridges, sums[1:], strict=True):
        if count == 0:
            return
        if total >= bridge.size and rest[count - 1] >> (total - bridge.size) & 1:
            yield bridge
            count, total = count - 1, total - bridge.size

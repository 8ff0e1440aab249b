"""Search for the fewest bridges with enough devices; of those the fewest devices; then the first.

The possible sums of devices are a set of bits, and a bridge is added to it by a shift. That is
polynomial; trying all combinations would take years.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.request import Bridge

_BITS_A_STEP: Final = 2048
"""Number of bits that are shifted in about the time that Python needs for the rest of a step."""


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

"""How long a worker that died has to wait before its next life.

At once after the first death: whatever killed it was most likely not its doing. Then 0.5 s doubled
for every further death, 30 s at most, so that a worker that can't live costs a fork in half a
minute. A life of 60 s clears the account. Jitter keeps the pools of a node that lost all its
workers together (out of memory, say) from forking in step for ever.
"""

from typing import Final

FIRST_S: Final = 0.5
MOST_S: Final = 30.0
STEADY_S: Final = 60.0
"""A life this long was a good one."""
JITTER: Final = 0.2
"""The share of the delay by which it varies, to either side."""


def deaths_in_a_row(before: int, lived_s: float) -> int:
    """The count after a death at the age of ``lived_s``."""
    return 1 if lived_s >= STEADY_S else before + 1


def delay_s(deaths: int, chance: float) -> float:
    """Seconds to wait after the n-th death in a row; ``chance`` in [0, 1) decides the jitter."""
    if deaths <= 1:
        return 0.0
    delay = min(MOST_S, FIRST_S * 2.0 ** min(deaths - 2, 16))
    return delay * (1 + JITTER * (2 * chance - 1))

"""The delay before the restart of a worker that has ended.

The first restart is immediate: most causes of an exit lie outside of the worker. Then the delay is
0.5 s, doubled for every further exit, up to 30 s, so that a worker that can't run costs one fork in
half a minute. 60 s without an exit reset the count. Jitter prevents that all pools of a node that
lost its workers together (out of memory, for example) fork at the same times.
"""

from typing import Final

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0
RESET_AFTER_S: Final = 60.0
"""Seconds; a run of this length resets the count."""
JITTER: Final = 0.2
"""Share of the delay by which it varies, up or down."""


def consecutive_failures(before: int, lived_s: float) -> int:
    """Return the number of consecutive exits after one at the age of ``lived_s`` seconds."""
    return 1 if lived_s >= RESET_AFTER_S else before + 1


def backoff_s(deaths: int, chance: float) -> float:
    """Return the seconds to wait after the n-th exit; ``chance`` in [0, 1) decides the jitter."""
    if deaths <= 1:
        return 0.0
    delay = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(deaths - 2, 16))
    return delay * (1 + JITTER * (2 * chance - 1))

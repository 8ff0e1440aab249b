"""Timer ticks that all processes of a node share, so that an idle node wakes once for all.

A wake-up costs more than its work: receiving the heartbeats of eight workers at once costs the
supervisor little more than receiving one.
"""

import math
from typing import Final

_EARLY: Final = 0.25
"""Fraction of an interval. A timer that fires slightly early must not tick twice."""


def next_moment(now: float, every_s: float) -> float:
    """Return the next multiple of ``every_s`` that is not almost due (monotonic seconds)."""
    return (math.floor(now / every_s + _EARLY) + 1) * every_s

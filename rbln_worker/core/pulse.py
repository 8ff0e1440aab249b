"""Moments that all processes of a node share, so that a node at rest wakes once for all of them.

A wake-up costs more than what is done in it: the supervisor hears eight workers that beat at once
for little more than one of them.
"""

import math
from typing import Final

_EARLY: Final = 0.25
"""Part of an interval. A timer that comes a trifle early must not beat twice."""


def next_moment(now: float, every_s: float) -> float:
    """The next multiple of ``every_s`` that is not all but here (monotonic seconds)."""
    return (math.floor(now / every_s + _EARLY) + 1) * every_s

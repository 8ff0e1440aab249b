"""Memory and descriptors over time: what grows without a bound is seen in an hour."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from tests.chaos.report import Memory

EVERY_S: Final = 5.0
LONG_S: Final = 600.0
"""A shorter run says nothing: a process that was just born still grows."""
PSS_MOST: Final = 1.3
"""The last third of a run may have so many times the memory of the middle one. Workers share pages
with the supervisor that forked them, so that it also says how many were adopted."""
DESCRIPTORS_MOST: Final = 20
"""… and so many descriptors more."""


class Sample(msgspec.Struct, frozen=True):
    """All processes at rest, and when (seconds since the start)."""

    at: float
    memory: Memory


def grows(samples: Sequence[Sample], seconds: float) -> str:
    """What grows although it should not; nothing where the run was too short to tell."""
    if seconds < LONG_S:
        return ""
    middle = [s.memory for s in samples if seconds / 3 <= s.at < seconds * 2 / 3]
    last = [s.memory for s in samples if s.at >= seconds * 2 / 3]
    if not middle or not last:
        return ""
    pss = tuple(median(memory.pss_kib for memory in some) for some in (middle, last))
    if pss[1] > PSS_MOST * pss[0]:
        return f"memory grows: {pss[0] / 1024:.1f} MiB, then {pss[1] / 1024:.1f} MiB"
    fds = tuple(median(memory.descriptors for memory in some) for some in (middle, last))
    if fds[1] > fds[0] + DESCRIPTORS_MOST:
        return f"open descriptors grow: {fds[0]:.0f}, then {fds[1]:.0f}"
    return ""

"""A limit for writes to the API server: a burst at once, then one at a time."""

from typing import Final

import msgspec

BURST: Final = 10.0
"""Rounds of writes that may follow each other at once."""
INTERVAL_S: Final = 0.25
"""Seconds from one round to the next after a burst: a fault has to be in the slice within 0.3 s."""


class WriteBudget(msgspec.Struct, frozen=True):
    """The rounds that are left at a time (monotonic seconds)."""

    rounds: float = BURST
    at: float = 0.0

    def next_delay(self, now: float) -> float:
        """Return the seconds until the next round may begin."""
        return max(0.0, 1.0 - self._rounds_left(now)) * INTERVAL_S

    def after_round(self, now: float) -> "WriteBudget":
        """Return the budget after a round that began now."""
        return WriteBudget(max(self._rounds_left(now) - 1.0, 0.0), now)

    def _rounds_left(self, now: float) -> float:
        return min(BURST, self.rounds + max(0.0, now - self.at) / INTERVAL_S)

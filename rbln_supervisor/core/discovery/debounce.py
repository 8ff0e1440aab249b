"""Debounce: a change is handled some time after the last one, but not delayed for ever."""

import math
from typing import Final

import msgspec

DEBOUNCE_S: Final = 0.2
"""Delay after the last change (seconds)."""
MAX_DEBOUNCE_S: Final = 1.0
"""Maximum delay after the first change, also if changes go on (seconds)."""


class Debounce(msgspec.Struct, frozen=True):
    """Changes that have not been handled yet (monotonic seconds)."""

    first: float | None = None
    last: float = 0.0

    @property
    def settles_at(self) -> float:
        """Time to handle them; infinity if there are none."""
        if self.first is None:
            return math.inf
        return min(self.first + MAX_DEBOUNCE_S, self.last + DEBOUNCE_S)

    def note_change(self, now: float) -> "Debounce":
        """Return the state after a change."""
        return Debounce(now if self.first is None else self.first, now)

"""When something that changes is at rest: some time after its last change, but not for ever."""

import math
from typing import Final

import msgspec

QUIET_S: Final = 0.2
"""After the last change, and so after whatever else belongs to it."""
MOST_S: Final = 1.0
"""After the first change, also where it goes on changing."""


class Quiet(msgspec.Struct, frozen=True):
    """The changes that nobody has looked at yet (monotonic seconds)."""

    first: float | None = None
    last: float = 0.0

    @property
    def due(self) -> float:
        """When to look; infinity where nothing has changed."""
        if self.first is None:
            return math.inf
        return min(self.first + MOST_S, self.last + QUIET_S)

    def touch(self, now: float) -> "Quiet":
        """Something changed."""
        return Quiet(now if self.first is None else self.first, now)

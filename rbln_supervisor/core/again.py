"""When to try a reload again that the kubelet could not be asked about: a kubelet that restarts."""

import math
from typing import Final

import msgspec

FIRST_S: Final = 1.0
MOST_S: Final = 30.0


class Again(msgspec.Struct, frozen=True):
    """The tries so far, and the next one."""

    wait_s: float = FIRST_S
    """Before the one after the next failure."""
    due: float = math.inf
    """When to try (monotonic seconds); infinity: never."""
    trying: bool = False
    """It is being tried, and nobody but us has asked for it."""

    def failed(self, now: float) -> "Again":
        """It could not be asked, once more: wait, each time longer."""
        return Again(min(MOST_S, 2 * self.wait_s), now + self.wait_s)

    def began(self) -> "Again":
        """It is being tried."""
        return Again(self.wait_s, trying=True)

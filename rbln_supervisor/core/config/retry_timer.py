"""Retry timer of a reload whose devices in use are not known, because the kubelet restarts."""

import math
from typing import Final

import msgspec

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 30.0


class RetryTimer(msgspec.Struct, frozen=True):
    """The delay after the next failure, and the time of the next attempt."""

    wait_s: float = FIRST_RETRY_S
    """Delay after the next failure (seconds)."""
    retry_at: float = math.inf
    """Time of the next attempt (monotonic seconds); infinity: none."""
    trying: bool = False
    """True during an automatic retry, without a requester."""

    def after_failure(self, now: float) -> "RetryTimer":
        """Return the timer after a failed attempt: each delay is longer."""
        return RetryTimer(min(MAX_RETRY_S, 2 * self.wait_s), now + self.wait_s)

    def while_trying(self) -> "RetryTimer":
        """Return the timer while an attempt runs."""
        return RetryTimer(self.wait_s, trying=True)

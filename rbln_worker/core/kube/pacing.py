"""Pacing of calls to the API server: delays after failures, and a limit for bursts."""

from typing import Final

import msgspec

FIRST_DELAY_S: Final = 0.2
MAX_DELAY_S: Final = 20.0
MAX_RETRIES: Final = 3
"""Repetitions of one call that the server asked to repeat later."""


class CallBudget(msgspec.Struct, frozen=True):
    """A burst of calls at once, then one at a time: those left at a time (monotonic seconds)."""

    burst: float
    """Calls that may follow each other at once."""
    interval_s: float
    """Seconds from one call to the next after a burst."""
    spent: float = 0.0
    """Calls of the burst that were made and are not regained at ``at``."""
    at: float = 0.0

    def next_delay(self, now: float) -> float:
        """Return the seconds until the next call may begin."""
        return max(0.0, self._spent_at(now) + 1.0 - self.burst) * self.interval_s

    def after_call(self, now: float) -> "CallBudget":
        """Return the budget after a call that began now."""
        return msgspec.structs.replace(self, spent=self._spent_at(now) + 1.0, at=now)

    def _spent_at(self, now: float) -> float:
        return max(0.0, self.spent - max(0.0, now - self.at) / self.interval_s)


def retry_delay(failures: int, chance: float, required_s: float = 0.0) -> float:
    """Return the delay after a number of failures in a row (seconds).

    It doubles from FIRST_DELAY_S to MAX_DELAY_S. ``chance`` (0 to 1) takes up to half of it away,
    so that nodes do not call in step when the server comes back. It is not shorter than
    ``required_s``, the server's Retry-After, to which up to a quarter is added.
    """
    full = min(FIRST_DELAY_S * 2.0 ** min(max(failures - 1, 0), 32), MAX_DELAY_S)
    return max(full * (1 - chance / 2), required_s * (1 + chance / 4))


def may_repeat(retry_after_s: float, retries: int, remaining_s: float) -> bool:
    """Return True if a call that the server refused for now may be repeated in its time."""
    return 0 < retry_after_s < remaining_s and retries < MAX_RETRIES

"""A limit for calls of the API server: a burst at once, then one at a time."""

import msgspec


class CallBudget(msgspec.Struct, frozen=True):
    """The calls that are left at a time (monotonic seconds)."""

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

"""When to act on events that come in bursts: soon after one, and not for each of many.

A bucket of turns that fills slowly: the first events of a burst are acted on almost at once (after
a moment, because one cause has many events), the others together. Whatever comes is acted on at
last, so that no final state is missed.
"""

from typing import Final

import msgspec

SETTLE_S: Final = 0.005
"""From an event to the act, for those that come with it: 100 events a VF come within 1 ms."""
BURST: Final = 10.0
"""Turns of a full bucket."""
PER_S: Final = 12.0
"""Turns that come back a second: under a storm that never ends, an act every 83 ms."""
PRICE_PER_S: Final = 30.0
"""Turns that a second of work costs besides: a third of a core is spent on acts that take long."""


class Pace(msgspec.Struct, frozen=True):
    """What is left of the bucket, and when to act."""

    turns: float = BURST
    """At ``at``; below zero after work that took long."""
    at: float = 0.0
    """Monotonic seconds."""
    due: float | None = None
    """When to act; None where nothing has happened since the last act began."""

    def heard(self, now: float) -> "Pace":
        """Something happened."""
        if self.due is not None:
            return self
        lacking = 1.0 - self._left(now)
        return msgspec.structs.replace(self, due=now + max(SETTLE_S, lacking / PER_S))

    def acted(self, now: float, *, cost_s: float = 0.0) -> "Pace":
        """The act begins; ``cost_s``: seconds of a core that acts take."""
        price = 1.0 + PRICE_PER_S * cost_s
        return Pace(turns=max(self._left(now) - price, -BURST), at=now)

    def _left(self, now: float) -> float:
        return min(BURST, self.turns + PER_S * max(0.0, now - self.at))

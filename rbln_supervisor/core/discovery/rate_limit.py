"""A token bucket for bursts of events: acts soon after one event, and once for many.

The first events of a burst are handled almost at once (after a moment, because one cause has many
events), the others together. Every event is handled in the end, so no final state is missed.
"""

import math
from typing import Final

import msgspec

SETTLE_S: Final = 0.005
"""Seconds from an event to the act, for events with the same cause: 100 of a VF come within 1
ms."""
MAX_TOKENS: Final = 10.0
"""Tokens of a full bucket."""
TOKENS_PER_S: Final = 12.0
"""New tokens per second: under an endless storm, one act every 83 ms."""
TOKENS_PER_CPU_S: Final = 30.0
"""Extra tokens for a second of CPU time: long acts use about a third of a core."""


class TokenBucket(msgspec.Struct, frozen=True):
    """The remaining tokens, and the time of the next act."""

    tokens: float = MAX_TOKENS
    """Tokens at ``at``; negative after long acts."""
    at: float = 0.0
    """Monotonic seconds."""
    next_act_at: float = math.inf
    """Time of the next act; infinity if there was no event since the last act began."""
    since: float = 0.0
    """Time of the first of these events."""

    def event_seen(self, now: float) -> "TokenBucket":
        """Return the bucket after an event."""
        if self.next_act_at < math.inf:
            return self
        lacking = 1.0 - self._tokens_left(now)
        act_at = now + max(SETTLE_S, lacking / TOKENS_PER_S)
        return msgspec.structs.replace(self, next_act_at=act_at, since=now)

    def act_started(self, now: float, *, cost_s: float = 0.0) -> "TokenBucket":
        """Return the bucket after the start of an act; ``cost_s``: CPU seconds of an act."""
        price = 1.0 + TOKENS_PER_CPU_S * cost_s
        return TokenBucket(tokens=max(self._tokens_left(now) - price, -MAX_TOKENS), at=now)

    def _tokens_left(self, now: float) -> float:
        return min(MAX_TOKENS, self.tokens + TOKENS_PER_S * max(0.0, now - self.at))

"""Pauses between two questions about what has no event."""

from collections.abc import Iterator
from typing import Final

FIRST_S: Final = 0.02
LONGEST_S: Final = 0.2
GROWTH: Final = 1.3


def pauses() -> Iterator[float]:
    """Yield seconds, more each time: a question may be a scrape or a process, and take a core."""
    pause_s = FIRST_S
    while True:
        yield pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_S)

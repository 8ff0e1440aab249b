"""Virtual time: actions in the order of their times, without a clock."""

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """Actions that are due at virtual times, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run an action after ``seconds``; of actions at the same time, the first one first."""
        self.at(self.now + seconds, action)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Run an action at a moment; one that has passed is the next."""
        heapq.heappush(self._heap, (max(moment, self.now), next(self._numbers), action))

    def run_until(self, end: float) -> None:
        """Run all actions that are due until ``end``."""
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

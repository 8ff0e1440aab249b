"""How much a call may search, in steps and not in time: the same question has the same answer."""

from typing import Final

STEPS_MOST: Final = 50_000
"""Of one call. A step takes some 0.1 µs."""


class Spent(Exception):
    """A search that would go beyond the budget."""


class Budget:
    """What is left of a call's steps."""

    def __init__(self, steps: int = STEPS_MOST) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take so many, or raise Spent; what was too much once leaves nothing to the next."""
        self.left -= steps
        if self.left < 0:
            raise Spent

"""The limit of a search, in steps and not in time: equal requests get equal answers."""

from typing import Final

from rbln_worker.contract.errors import RblnError

MAX_STEPS: Final = 50_000
"""Maximum number of steps of one call. A step takes about 0.1 µs."""


class BudgetError(RblnError):
    """A search exceeded the budget."""


class Budget:
    """The remaining steps of a call."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take ``steps`` from the budget; raise BudgetError if too few are left.

        A request for too many steps leaves none for later calls.
        """
        self.left -= steps
        if self.left < 0:
            raise BudgetError

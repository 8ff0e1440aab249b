"""Faults at random times, and channels that lose, double and reorder."""

from collections.abc import Callable, Mapping
from random import Random

from tests.simulation.timeline import Timeline


class Faults:
    """A source of faults; after ``cease`` there are none."""

    def __init__(self, timeline: Timeline, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - repeatable, not secret
        self.timeline = timeline
        self.active = True

    def cease(self) -> None:
        """End all faults."""
        self.active = False

    def happens(self, probability: float) -> bool:
        """Return True with this probability, and False once faults have ceased."""
        return self.active and self.random.random() < probability

    def delay(self, at_most: float = 0.02) -> float:
        """Return a random duration, in seconds; some are a hundred times as long."""
        spread = self.random.uniform(0.0001, at_most)
        return spread * 100 if self.happens(0.02) else spread

    def deliver(self, action: Callable[[], None]) -> None:
        """Deliver a message: once after a while, or never, or twice, or after later ones."""
        if self.happens(0.05):
            return
        self.timeline.after(self.delay(), action)
        if self.happens(0.05):
            self.timeline.after(self.delay(), action)

    def schedule(self, actions: Mapping[Callable[[], None], int], mean_s: float) -> None:
        """Run one of the actions, chosen by weight, now and then while faults are active."""
        chosen = self.random.choices(list(actions), list(actions.values()))[0]

        def act() -> None:
            if self.active:
                chosen()
                self.schedule(actions, mean_s)

        self.timeline.after(self.random.expovariate(1 / mean_s), act)

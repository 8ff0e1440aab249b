"""What the kubelet is told of pools while something happens: how often, and each device's way."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Listed

HEALTHY: Final = "Healthy"
UNHEALTHY: Final = "Unhealthy"
AWAY: Final = "-"
"""Not in the list."""
DEADLINE_S: Final = 30.0
"""A worker that starts for it takes a second; ten on a machine with eight others to run."""

Way = tuple[str, ...]
"""A device's states, one after the other; the first is that before."""


class Told:
    """All that the kubelet is told of some pools from now on."""

    def __init__(self, kubelet: SimKubelet, *pools: str) -> None:
        self._kubelet = kubelet
        self._before = {pool: len(kubelet.messages(pool)) for pool in pools}

    def messages(self, pool: str) -> tuple[Listed, ...]:
        """Those that came since."""
        return self._kubelet.messages(pool)[self._before[pool] :]

    def ways(self, pool: str) -> Mapping[str, Way]:
        """The way of each device that is not what it was, or was not meanwhile."""
        messages = self._with_before(pool)
        names = {name for message in messages for name in message.devices}
        ways = {name: _way(messages, name) for name in sorted(names)}
        return {name: way for name, way in ways.items() if len(way) > 1}

    def superfluous(self) -> tuple[str, ...]:
        """Messages that say what the one before said already, a line each."""
        return tuple(
            f"{pool}: {sorted(after.devices)} twice"
            for pool, count in self._before.items()
            for before, after in pairwise(self._kubelet.messages(pool)[max(count - 1, 0) :])
            if before.devices == after.devices
        )

    def steps(self, pool: str) -> int:
        """How often a device changed: as many messages would do that tell of one change each."""
        return sum(len(way) - 1 for way in self.ways(pool).values())

    def _with_before(self, pool: str) -> tuple[Listed, ...]:
        nothing = Listed(0.0, pool, "", {})
        return (nothing, *self._kubelet.messages(pool))[self._before[pool] :]


def state(message: Listed, device: str) -> str:
    """What a message says of a device."""
    seen = message.devices.get(device)
    return seen.health if seen else AWAY


def heard(kubelet: SimKubelet, pool: str, device: str, wanted: str) -> float:
    """Wait until the kubelet has a device so; when it was told (monotonic seconds)."""

    def now(kubelet: SimKubelet) -> str:
        seen = kubelet.resource(pool).devices.get(device)
        return seen.health if seen else AWAY

    what = f"{device} of {pool} is {wanted}"
    kubelet.wait(lambda k: now(k) == wanted, DEADLINE_S, what=what)
    at = 0.0
    for message in reversed(kubelet.messages(pool)):
        if state(message, device) != wanted:
            break
        at = message.at
    return at


def _way(messages: tuple[Listed, ...], device: str) -> Way:
    states = [state(message, device) for message in messages]
    return (states[0], *(after for before, after in pairwise(states) if before != after))

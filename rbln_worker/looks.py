"""When which devices are looked at: at once where something happened, and now and then anyway."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.core.health.evidence import changes_untold
from rbln_worker.core.inventory import Inventory
from rbln_worker.prober import Depth

Follow = Callable[[Sequence[Device], Inventory, Depth], Coroutine[None, None, None]]
"""Have these devices looked at, and do what follows."""
CHECK_EVERY: Final = 5
"""Pulses from one check of all devices to the next: 10 s."""
SPREAD: Final = random.SystemRandom()
"""Workers are born together, and need not check whole pools together."""


class Looks:
    """Who is to be looked at next."""

    def __init__(
        self,
        held: Callable[[], Inventory | None],
        troubled: Callable[[], set[DeviceId]],
        follow: Follow,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        """``held`` are the devices that there are, ``spawn`` begins a task.

        ``troubled`` are a few that lack something, which may come without a word.
        """
        self._held = held
        self._troubled = troubled
        self._follow = follow
        self._spawn = spawn
        self._pulses = SPREAD.randrange(CHECK_EVERY)
        self._stale: set[DeviceId] = set()
        """What is known of these may have changed."""
        self._soon: asyncio.Handle | None = None
        """The look at them that is about to begin."""
        self._ended = False

    def want(self, devices: Collection[DeviceId] = ()) -> None:
        """Have these devices looked at soon, all where none is named."""
        held = self._held()
        if held is not None:
            self.soon(devices or held.devices)

    def soon(self, devices: Collection[DeviceId]) -> None:
        """Have these looked at, and the pool even where it has none: something is to be said."""
        self._stale.update(devices)
        # One look for all that is wanted in this turn of the loop.
        if self._soon is None and not self._ended:
            self._soon = asyncio.get_running_loop().call_soon(self._look)

    def pulse(self) -> None:
        """Have looked at what may have changed without a word; every BEAT_S."""
        self._pulses += 1
        devices = self._devices()
        if troubled := self._troubled():
            self.want(troubled)
        if self._pulses % CHECK_EVERY == 0:  # also where there are no devices: there are files
            self._begin(devices.keys() - self._stale, Depth.CHECK)
        elif changes_untold(devices.values()):
            self._begin(devices.keys() - self._stale, Depth.GLANCE)

    def end(self) -> None:
        """Begin no look any more, whatever is still heard: this worker leaves."""
        self._ended = True
        if self._soon is not None:
            self._soon.cancel()

    def _look(self) -> None:
        self._soon = None
        stale, self._stale = self._stale, set()
        self._begin(stale, Depth.LOOK)

    def _devices(self) -> Mapping[DeviceId, Device]:
        held = self._held()
        return held.devices if held else {}

    def _begin(self, names: Collection[DeviceId], depth: Depth) -> None:
        held = self._held()
        if held is not None:
            chosen = [held.devices[one] for one in names if one in held.devices]
            self._spawn(self._follow(chosen, held, depth))

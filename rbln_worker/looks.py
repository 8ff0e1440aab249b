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
AFTER_S: Final = 0.1
"""So much later all are checked where something unnamed happened: what is known to have changed is
looked at and told by then, in this worker and in the others, which share the processor. Nothing
would tell this one that they have done so: hence a time."""
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
        self._check: asyncio.Handle | None = None
        """The check of all that is about to begin."""
        self._ended = False

    def want(self, devices: Collection[DeviceId]) -> None:
        """Have these looked at soon, and the pool even where it has none: something is to be said.

        One look for all that is wanted in this turn of the loop.
        """
        self._stale.update(devices)
        if self._soon is None and not self._ended:
            self._soon = asyncio.get_running_loop().call_soon(self._look)

    def want_all(self) -> None:
        """Have all checked, AFTER_S from now; one check for all that want it meanwhile."""
        if self._check is None and not self._ended:
            self._check = asyncio.get_running_loop().call_later(AFTER_S, self._check_all)

    def pulse(self) -> None:
        """Have looked at what may have changed without a word; every BEAT_S."""
        self._pulses += 1
        devices = self._devices()
        if troubled := self._troubled():
            self.want(troubled)
        if self._pulses % CHECK_EVERY == 0:  # also where there are no devices: there are files
            self._check_all()
        elif changes_untold(devices.values()):
            self._begin(devices.keys() - self._stale, Depth.GLANCE)

    def end(self) -> None:
        """Begin no look any more, whatever is still heard: this worker leaves."""
        self._ended = True
        for begun in (self._soon, self._check):
            if begun is not None:
                begun.cancel()

    def _look(self) -> None:
        self._soon = None
        stale, self._stale = self._stale, set()
        self._begin(stale, Depth.LOOK)

    def _check_all(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None
        self._begin(self._devices().keys() - self._stale, Depth.CHECK)

    def _devices(self) -> Mapping[DeviceId, Device]:
        held = self._held()
        return held.devices if held else {}

    def _begin(self, names: Collection[DeviceId], depth: Depth) -> None:
        held = self._held()
        if held is not None:
            chosen = [held.devices[one] for one in names if one in held.devices]
            self._spawn(self._follow(chosen, held, depth))

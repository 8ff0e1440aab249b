"""When which devices are looked at: at once where something happened, and now and then anyway."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.core.health.evidence import OFTEN_S, SELDOM_S, changes_untold
from rbln_worker.core.inventory import Inventory
from rbln_worker.core.pulse import next_moment
from rbln_worker.prober import Depth

Follow = Callable[[Sequence[Device], Inventory, Depth], Coroutine[None, None, None]]
"""Have these devices looked at, and do what follows."""
SPREAD: Final = random.SystemRandom()
"""Workers are born together, and need not look at whole pools together."""


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
        self._wanted = asyncio.Event()
        self._stale: set[DeviceId] = set()
        """What is known of these may have changed."""

    def want(self, devices: Collection[DeviceId] = ()) -> None:
        """Have these devices looked at soon, all where none is named."""
        held = self._held()
        if held is not None:
            self._stale.update(devices or held.devices)
            self._wanted.set()

    def soon(self, devices: Collection[DeviceId]) -> None:
        """Have these looked at, and the pool even where it has none: something is to be said."""
        self._stale.update(devices)
        self._wanted.set()

    async def run(self) -> None:
        """Never ends."""
        loop = asyncio.get_running_loop()
        seen_at = loop.time()
        look_at = seen_at + SELDOM_S
        while True:
            devices = self._devices()
            glances = changes_untold(devices.values())
            often = glances or self._troubled()
            due = min(next_moment(seen_at, OFTEN_S) if often else look_at, look_at)
            try:
                async with asyncio.timeout_at(due):
                    await self._wanted.wait()
            except TimeoutError:
                seen_at = loop.time()
                if seen_at >= look_at:
                    look_at = seen_at + SELDOM_S  # also where there are no devices yet
                    self.want()
                else:
                    self._stale |= self._troubled()
                    if glances:
                        self._begin(devices.keys() - self._stale, Depth.GLANCE)
            if not self._stale and not self._wanted.is_set():
                continue
            self._wanted.clear()
            stale, self._stale = self._stale, set()
            if stale >= self._devices().keys():
                seen_at = loop.time()
                look_at = seen_at + SELDOM_S - SPREAD.uniform(0, OFTEN_S)
            self._begin(stale, Depth.LOOK)

    def _devices(self) -> Mapping[DeviceId, Device]:
        held = self._held()
        return held.devices if held else {}

    def _begin(self, names: Collection[DeviceId], depth: Depth) -> None:
        held = self._held()
        if held is not None:
            chosen = [held.devices[one] for one in names if one in held.devices]
            self._spawn(self._follow(chosen, held, depth))

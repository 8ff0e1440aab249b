"""When which devices are looked at: at once where something happened, and now and then anyway."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
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
        follow: Follow,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        """``held`` are the devices that there are, ``spawn`` begins a task."""
        self._held = held
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
            depth = Depth.LOOK
            held = self._held()
            often = held is not None and changes_untold(held.devices.values())
            due = next_moment(seen_at, OFTEN_S) if often else look_at
            try:
                async with asyncio.timeout_at(due):
                    await self._wanted.wait()
            except TimeoutError:
                self.want()
                if loop.time() < look_at:
                    depth = Depth.GLANCE
            self._wanted.clear()
            stale, self._stale = self._stale, set()
            held = self._held()
            chosen = [held.devices[one] for one in stale if one in held.devices] if held else []
            if held is None or len(chosen) == len(held.devices):
                seen_at = loop.time()
                if depth is Depth.LOOK:
                    look_at = seen_at + SELDOM_S - SPREAD.uniform(0, OFTEN_S)
            if held is not None:
                self._spawn(self._follow(chosen, held, depth))

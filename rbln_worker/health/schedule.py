"""The schedule of health checks: at once after an event, and at intervals."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.core.health.evidence import changes_untold
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.health.probe_threads import Depth

Follow = Callable[[Sequence[Device], HeldPool, Depth], Coroutine[None, None, None]]
"""A function that checks devices and applies the results."""
CHECK_EVERY: Final = 5
"""Heartbeats from one check of all devices to the next: 10 s."""
AFTER_S: Final = 0.1
"""Delay of a check of all devices, after an event that names none. Devices that are known to have
changed are checked first, in this worker and in the others, which share the processor; no event
would report the end of that, so this is a time."""
SPREAD: Final = random.SystemRandom()
"""Workers start together, but need not check whole pools together."""


class CheckSchedule:
    """The schedule of a pool's health checks."""

    def __init__(
        self,
        held: Callable[[], HeldPool | None],
        troubled: Callable[[], set[DeviceId]],
        follow: Follow,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        """Check the devices that ``held`` returns; ``spawn`` starts a task.

        ``troubled`` returns a few incomplete devices, which may become complete without an event.
        """
        self._held = held
        self._troubled = troubled
        self._follow = follow
        self._spawn = spawn
        self._pulses = SPREAD.randrange(CHECK_EVERY)
        self._stale: set[DeviceId] = set()
        """Devices that may have changed."""
        self._soon: asyncio.Handle | None = None
        """The pending check of these devices."""
        self._check: asyncio.Handle | None = None
        """The pending check of all devices."""
        self._ended = False

    def want(self, devices: Collection[DeviceId]) -> None:
        """Request a check of these devices soon; without devices, the pool's state is updated.

        All requests of one loop iteration get one check.
        """
        self._stale.update(devices)
        if self._soon is None and not self._ended:
            self._soon = asyncio.get_running_loop().call_soon(self._look)

    def want_all(self) -> None:
        """Request a check of all devices in AFTER_S; one check for all requests until then."""
        if self._check is None and not self._ended:
            self._check = asyncio.get_running_loop().call_later(AFTER_S, self._check_all)

    def pulse(self) -> None:
        """Check devices that may have changed without an event; called every BEAT_S."""
        self._pulses += 1
        devices = self._devices()
        if troubled := self._troubled():
            self.want(troubled)
        if self._pulses % CHECK_EVERY == 0:  # also without devices, for the files
            self._check_all()
        elif changes_untold(devices.values()):
            self._begin(devices.keys() - self._stale, Depth.GLANCE)

    def end(self) -> None:
        """Start no further checks, because the worker ends."""
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

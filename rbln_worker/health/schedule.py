"""The schedule of health checks: at once after an event, and at intervals."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.core.health.evidence import needs_quick_checks
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.health.inspect import Depth

Follow = Callable[[Sequence[Device], HeldPool, Depth], Coroutine[None, None, None]]
"""A function that checks devices and applies the results."""
HEARTBEATS_PER_FULL_CHECK: Final = 5
"""Heartbeats from one check of all devices to the next: 10 s."""
FULL_CHECK_DELAY_S: Final = 0.1
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
        self._incomplete = troubled
        self._follow = follow
        self._spawn = spawn
        self._heartbeats = SPREAD.randrange(HEARTBEATS_PER_FULL_CHECK)
        self._stale: set[DeviceId] = set()
        """Devices that may have changed."""
        self._soon: asyncio.Handle | None = None
        """The pending check of these devices."""
        self._check: asyncio.Handle | None = None
        """The pending check of all devices."""
        self._ended = False

    def request_check(self, devices: Collection[DeviceId]) -> None:
        """Request a check of these devices soon; without devices, the pool's state is updated.

        All requests of one loop iteration get one check.
        """
        self._stale.update(devices)
        if self._soon is None and not self._ended:
            self._soon = asyncio.get_running_loop().call_soon(self._check_requested)

    def request_full_check(self) -> None:
        """Request a check of all devices in FULL_CHECK_DELAY_S; requests until then share it."""
        if self._check is None and not self._ended:
            self._check = asyncio.get_running_loop().call_later(FULL_CHECK_DELAY_S, self._check_all)

    def on_heartbeat(self) -> None:
        """Check devices that may have changed without an event; called once for each heartbeat."""
        self._heartbeats += 1
        devices = self._held_devices()
        if troubled := self._incomplete():
            self.request_check(troubled)
        if self._heartbeats % HEARTBEATS_PER_FULL_CHECK == 0:  # also without devices, for the files
            self._check_all()
        elif needs_quick_checks(devices.values()):
            self._begin_check(devices.keys() - self._stale, Depth.VOLATILE)

    def stop_checks(self) -> None:
        """Start no further checks, because the worker ends."""
        self._ended = True
        for begun in (self._soon, self._check):
            if begun is not None:
                begun.cancel()

    def _check_requested(self) -> None:
        self._soon = None
        stale, self._stale = self._stale, set()
        self._begin_check(stale, Depth.FULL)

    def _check_all(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None
        self._begin_check(self._held_devices().keys() - self._stale, Depth.IF_CHANGED)

    def _held_devices(self) -> Mapping[DeviceId, Device]:
        held = self._held()
        return held.devices if held else {}

    def _begin_check(self, names: Collection[DeviceId], depth: Depth) -> None:
        held = self._held()
        if held is not None:
            chosen = [held.devices[one] for one in names if one in held.devices]
            self._spawn(self._follow(chosen, held, depth))

"""The schedule of health checks: at once after an event, and at intervals."""

from collections.abc import Collection
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.health.evidence import Depth, needs_quick_checks
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.core.step.effects import StartCheck

HEARTBEATS_PER_FULL_CHECK: Final = 5
"""Heartbeats from one check of all devices to the next: 10 s."""
FULL_CHECK_DELAY_S: Final = 0.1
"""Delay of a check of all devices, after an event that names none. Devices that are known to have
changed are checked first, in this worker and in the others, which share the processor; no event
would report the end of that, so this is a time."""


class CheckSchedule:
    """The schedule of a pool's health checks."""

    def __init__(self, heartbeats: int = 0) -> None:
        """``heartbeats``: workers start together, but need not check whole pools together."""
        self._heartbeats = heartbeats
        self._stale: set[DeviceId] = set()
        """Devices that may have changed."""
        self._requested_at: float | None = None
        """The time of the request to check these devices (monotonic seconds)."""
        self._full_check_at: float | None = None
        """The time of the requested check of all devices (monotonic seconds)."""

    @property
    def next_check(self) -> float | None:
        """The time of the next requested check (monotonic seconds)."""
        return min(
            (at for at in (self._requested_at, self._full_check_at) if at is not None), default=None
        )

    def request_check(self, devices: Collection[DeviceId], now: float) -> None:
        """Request a check of these devices at once; without devices, the pool's state is updated.

        It becomes due at the end of the loop's iteration, so that all requests of one get one
        check.
        """
        self._stale.update(devices)
        if self._requested_at is None:
            self._requested_at = now

    def request_full_check(self, now: float) -> None:
        """Request a check of all devices in FULL_CHECK_DELAY_S; requests until then share it."""
        if self._full_check_at is None:
            self._full_check_at = now + FULL_CHECK_DELAY_S

    def take_due(self, held: HeldPool | None, now: float) -> list[StartCheck]:
        """Return the requested checks that are due."""
        due = []
        if self._requested_at is not None and self._requested_at <= now:
            self._requested_at = None
            stale, self._stale = self._stale, set()
            due += _make_check(held, stale, Depth.FULL)
        if self._full_check_at is not None and self._full_check_at <= now:
            due += self._check_all(held)
        return due

    def on_heartbeat(self, held: HeldPool | None) -> list[StartCheck]:
        """Return checks of devices that may have changed without an event.

        It is called once for each heartbeat.
        """
        self._heartbeats += 1
        if self._heartbeats % HEARTBEATS_PER_FULL_CHECK == 0:  # also without devices, for the files
            return self._check_all(held)
        if held is not None and needs_quick_checks(held.devices.values()):
            return _make_check(held, held.devices.keys() - self._stale, Depth.VOLATILE)
        return []

    def _check_all(self, held: HeldPool | None) -> list[StartCheck]:
        self._full_check_at = None
        names = held.devices.keys() - self._stale if held else ()
        return _make_check(held, names, Depth.IF_CHANGED)


def _make_check(
    held: HeldPool | None, names: Collection[DeviceId], depth: Depth
) -> list[StartCheck]:
    if held is None:
        return []
    devices = {one: held.devices[one] for one in names if one in held.devices}
    return [StartCheck(held.pool, devices, depth)]

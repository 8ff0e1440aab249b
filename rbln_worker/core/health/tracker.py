"""Health records of a pool's devices, and the times of their next evaluations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health import device_health, health_record
from rbln_worker.core.health.device_health import DeviceHealth
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.health_record import Timestamp

_SLACK_S: Final = 0.001
"""A timer may fire slightly early."""
_HALFWAY_CHECK_BELOW_S: Final = 2.0
"""Longer waits include a regular health check."""


class HealthTracker:
    """Health records of a pool's devices: evidence comes at any time, verdicts on request."""

    def __init__(self) -> None:
        self._health: dict[DeviceId, DeviceHealth] = {}
        self._deadlines: dict[DeviceId, float] = {}
        """Time of the next evaluation of each device without new evidence (monotonic seconds)."""
        self._halfway: dict[DeviceId, float] = {}
        """Time of the check of each device before such an evaluation (monotonic seconds)."""
        self.verdicts: Mapping[DeviceId, Verdict] = {}
        """The last verdicts; replaced by another mapping after each change."""
        self.hidden: frozenset[DeviceId] = frozenset()
        """Devices that are not listed yet."""

    @property
    def next_times(self) -> tuple[float | None, float | None]:
        """The times of the next evaluation and of the next check before one (monotonic seconds)."""
        evaluation = min(self._deadlines.values(), default=None)
        return evaluation, min(self._halfway.values(), default=None)

    def set_desired(
        self, devices: Mapping[DeviceId, Device], told: Iterable[DeviceId], *, listing: bool
    ) -> None:
        """Take the desired state of some devices.

        Args:
            devices: all devices.
            told: devices that are new, changed or removed.
            listing: True if the kubelet has a list of the pool already.
        """
        for device in told:
            if device in devices:
                known = self._health.get(device)
                self._health[device] = device_health.with_desired_state(
                    known, devices[device], listing=listing
                )
            else:
                self._health.pop(device, None)

    def add_evidence(self, found: Mapping[DeviceId, Evidence], now: float) -> None:
        """Take the evidence of health checks that ended at ``now`` (monotonic seconds)."""
        for device, evidence in found.items():
            self._health[device] = device_health.with_evidence(self._health[device], evidence, now)

    def overdue_devices(self, now: float) -> set[DeviceId]:
        """Return the devices whose evaluation is due."""
        return {device for device, due in self._deadlines.items() if due <= now + _SLACK_S}

    def take_halfway(self, now: float) -> set[DeviceId]:
        """Return the devices whose check before an evaluation is due, each once."""
        due = {device for device, at in self._halfway.items() if at <= now}
        for device in due:
            del self._halfway[device]
        return due

    def evaluate_devices(
        self,
        pool: PoolSpec,
        devices: Iterable[DeviceId],
        now: Timestamp,
        unfiled: Callable[[DeviceId], str],
        given: Callable[[DeviceId], str],
    ) -> Mapping[DeviceId, Verdict | None]:
        """Evaluate these devices; return the changed verdicts, None for a removed device.

        ``unfiled`` returns why a device is not in the pool's CDI spec although it has to be,
        ``given`` why pods' nodes prevent its allocation; both return an empty string if there is no
        reason.
        """
        changed: dict[DeviceId, Verdict | None] = {}
        shown, concealed = set[DeviceId](), set[DeviceId]()
        for device in devices:
            before = self._health.get(device)
            if before is None:
                self._deadlines.pop(device, None)
                self._halfway.pop(device, None)
                shown.add(device)
                if device in self.verdicts:
                    changed[device] = None
                continue
            after = self._health[device] = device_health.evaluate_evidence(
                before, unfiled(device), pool.health, now, given(device)
            )
            self._set_times(device, before, after, now.at)
            (shown if health_record.is_listed(after.record) else concealed).add(device)
            verdict = device_health.device_verdict(after)
            if verdict != self.verdicts.get(device):
                changed[device] = verdict
        self.hidden = (self.hidden - shown) | concealed
        if changed:
            kept = {**self.verdicts, **changed}
            self.verdicts = {device: one for device, one in kept.items() if one is not None}
        return changed

    def _set_times(
        self, device: DeviceId, before: DeviceHealth, after: DeviceHealth, now: float
    ) -> None:
        due = after.record.deadline
        is_new = due != before.record.deadline and after.record.source != "link"
        if due is not None and is_new and due - now < _HALFWAY_CHECK_BELOW_S:
            # Not every repair causes an event: check once more before it fails or recovers.
            self._halfway[device] = (now + due) / 2
        evaluation = device_health.next_evaluation(after, now)
        if evaluation is None:
            self._deadlines.pop(device, None)
        else:
            self._deadlines[device] = evaluation

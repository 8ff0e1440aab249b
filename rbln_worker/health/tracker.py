"""Health records of a pool's devices, with a clock, a timer and a log."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health import device_health, health_record
from rbln_worker.core.health.device_health import DeviceHealth
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.health_record import Timestamp

_PASSING: Final = frozenset({HealthPhase.SUSPECT, HealthPhase.PROBATION})
_SLACK_S: Final = 0.001
"""A timer may fire slightly early."""
_HALFWAY_CHECK_BELOW_S: Final = 2.0
"""Longer waits include a regular health check."""

log = logging.getLogger(__name__)


class HealthTracker:
    """Health records of a pool's devices: evidence comes at any time, verdicts on request."""

    def __init__(
        self, *, on_deadline: Callable[[], None], request_check: Callable[[DeviceId], None]
    ) -> None:
        """Call ``on_deadline`` at a deadline; ``request_check`` requests a check before one."""
        self._on_deadline = on_deadline
        self._request_check = request_check
        self._health: dict[DeviceId, DeviceHealth] = {}
        self._deadlines: dict[DeviceId, float] = {}
        """Time of the next evaluation of each device without new evidence (monotonic seconds)."""
        self.verdicts: Mapping[DeviceId, Verdict] = {}
        """The last verdicts; replaced by another mapping after each change."""
        self.hidden: frozenset[DeviceId] = frozenset()
        """Devices that are not listed yet."""
        self._timer: asyncio.TimerHandle | None = None

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

    def add_evidence(self, found: Mapping[DeviceId, Evidence]) -> None:
        """Take the evidence of health checks."""
        now = asyncio.get_running_loop().time()
        for device, evidence in found.items():
            self._health[device] = device_health.with_evidence(self._health[device], evidence, now)

    def overdue_devices(self) -> set[DeviceId]:
        """Return the devices whose deadline has passed."""
        now = asyncio.get_running_loop().time() + _SLACK_S
        return {device for device, due in self._deadlines.items() if due <= now}

    def evaluate_devices(
        self,
        pool: PoolSpec,
        devices: Iterable[DeviceId],
        unfiled: Callable[[DeviceId], str],
        given: Callable[[DeviceId], str],
    ) -> Mapping[DeviceId, Verdict | None]:
        """Evaluate these devices now; return the changed verdicts, None for a removed device.

        ``unfiled`` returns why a device is not in the pool's CDI spec although it has to be,
        ``given`` why pods' nodes prevent its allocation; both return an empty string if there is no
        reason.
        """
        loop = asyncio.get_running_loop()
        now = Timestamp(loop.time(), round(datetime.now(UTC).timestamp(), 3))
        changed: dict[DeviceId, Verdict | None] = {}
        shown, concealed = set[DeviceId](), set[DeviceId]()
        for device in devices:
            before = self._health.get(device)
            if before is None:
                self._deadlines.pop(device, None)
                shown.add(device)
                if device in self.verdicts:
                    changed[device] = None
                continue
            after = self._health[device] = device_health.evaluate_evidence(
                before, unfiled(device), pool.health, now, given(device)
            )
            wait = after.record.deadline
            is_new = wait != before.record.deadline and after.record.source != "link"
            if wait is not None and is_new:
                self._check_halfway(device, wait - now.at)
            self._set_deadline(device, device_health.next_evaluation(after, now.at))
            (shown if health_record.is_listed(after.record) else concealed).add(device)
            verdict = device_health.device_verdict(after)
            if verdict != self.verdicts.get(device):
                changed[device] = verdict
        self._set_timer()
        self.hidden = (self.hidden - shown) | concealed
        if changed:
            _log_changes(self.verdicts, changed)
            kept = {**self.verdicts, **changed}
            self.verdicts = {device: one for device, one in kept.items() if one is not None}
        return changed

    def _set_deadline(self, device: DeviceId, due: float | None) -> None:
        if due is None:
            self._deadlines.pop(device, None)
        else:
            self._deadlines[device] = due

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines:
            first = min(self._deadlines.values())
            self._timer = asyncio.get_running_loop().call_at(first, self._on_deadline)

    def _check_halfway(self, device: DeviceId, seconds: float) -> None:
        # Not every repair causes an event: check once more before the device fails or recovers.
        if seconds < _HALFWAY_CHECK_BELOW_S:
            asyncio.get_running_loop().call_later(seconds / 2, self._request_check, device)


def _log_changes(
    before: Mapping[DeviceId, Verdict], changed: Mapping[DeviceId, Verdict | None]
) -> None:
    for device in sorted(changed):
        verdict, old = changed[device], before.get(device)
        if verdict is None:
            log.info("device left", extra={"device": device})
        elif old is None or (old.phase, old.reason) != (verdict.phase, verdict.reason):
            _log_change(device, old, verdict)


def _log_change(device: DeviceId, old: Verdict | None, verdict: Verdict) -> None:
    facts: dict[str, str] = {"device": device, "why": verdict.reason, "source": verdict.source}
    facts = {key: value for key, value in facts.items() if value}
    if _is_quiet(old, verdict):
        log.debug("device %s", verdict.phase, extra=facts)
    elif verdict.phase is HealthPhase.HEALTHY:
        log.info("device healthy", extra=facts)
    else:
        log.warning("device %s", verdict.phase, extra=facts)


def _is_quiet(old: Verdict | None, verdict: Verdict) -> bool:
    """Return True for changes that neither the kubelet nor most operators need to know."""
    if verdict.phase in _PASSING or verdict.reason == health_record.NOT_CHECKED:
        return True
    back = old is not None and old.phase in _PASSING and old.healthy == verdict.healthy
    return back and verdict.phase is not HealthPhase.UNKNOWN

"""The cases of a pool's devices, with what they need of the world: a clock, a timer, a log."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health import case, standing
from rbln_worker.core.health.case import Case
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.standing import Moment
from rbln_worker.core.inventory import Inventory

_PASSING: Final = frozenset({HealthPhase.SUSPECT, HealthPhase.PROBATION})
_LOOK_HALFWAY_BELOW_S: Final = 2.0
"""Longer waits see a look of their own."""

log = logging.getLogger(__name__)


class Judge:
    """Takes evidence whenever it comes, and says what it comes to when asked."""

    def __init__(self, *, overdue: Callable[[], None], doubted: Callable[[DeviceId], None]) -> None:
        """Call ``overdue`` when to ask without new evidence, ``doubted`` for a look in between."""
        self._overdue = overdue
        self._doubted = doubted
        self._cases: dict[DeviceId, Case] = {}
        self._verdicts: dict[DeviceId, Verdict] = {}
        self._timer: asyncio.TimerHandle | None = None

    def adopt(self, held: Inventory, *, listing: bool) -> None:
        """Take the supervisor's word; ``listing``: the kubelet has a list of the pool already."""
        self._cases = {
            device: case.told(self._cases.get(device), value, listing=listing)
            for device, value in held.devices.items()
        }

    def look(self, found: Mapping[DeviceId, Evidence]) -> None:
        """Take what looks found."""
        now = asyncio.get_running_loop().time()
        for device, evidence in found.items():
            self._cases[device] = case.looked(self._cases[device], evidence, now)

    def judge(self, pool: PoolSpec, unfiled: Mapping[DeviceId, str]) -> Mapping[DeviceId, Verdict]:
        """The verdicts at this moment, on all devices that were adopted.

        ``unfiled``: why a device is not in the pool's CDI spec although it has to be.
        """
        loop = asyncio.get_running_loop()
        now = Moment(loop.time(), round(datetime.now(UTC).timestamp(), 3))
        before, self._cases = self._cases, {}
        for device, one in before.items():
            after = case.judged(one, unfiled.get(device, ""), pool.health, now)
            self._cases[device] = after
            wait = after.record.deadline
            if wait is not None and wait != one.record.deadline and after.record.source != "link":
                self._look_halfway(device, wait - now.at)
        self._set_timer(now)
        verdicts = {device: case.verdict(one) for device, one in self._cases.items()}
        _note_changes(self._verdicts, verdicts)
        self._verdicts = verdicts
        return verdicts

    def hidden(self) -> frozenset[DeviceId]:
        """Devices that the kubelet doesn't hear of yet."""
        return frozenset(
            device for device, one in self._cases.items() if not standing.listed(one.record)
        )

    def _set_timer(self, now: Moment) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = (case.due(one, now.at) for one in self._cases.values())
        first = min((due for due in dues if due is not None), default=None)
        if first is not None:
            self._timer = asyncio.get_running_loop().call_at(first, self._overdue)

    def _look_halfway(self, device: DeviceId, seconds: float) -> None:
        # Not all that a device lacks tells of its coming: nobody falls, or rises, unseen.
        if seconds < _LOOK_HALFWAY_BELOW_S:
            asyncio.get_running_loop().call_later(seconds / 2, self._doubted, device)


def _note_changes(before: Mapping[DeviceId, Verdict], after: Mapping[DeviceId, Verdict]) -> None:
    for device in sorted(before.keys() | after.keys()):
        verdict, old = after.get(device), before.get(device)
        if verdict is None:
            log.info("device left", extra={"device": device})
        elif old is None or (old.phase, old.reason) != (verdict.phase, verdict.reason):
            _note(device, old, verdict)


def _note(device: DeviceId, old: Verdict | None, verdict: Verdict) -> None:
    facts: dict[str, str] = {"device": device, "why": verdict.reason, "source": verdict.source}
    facts = {key: value for key, value in facts.items() if value}
    if _quiet(old, verdict):
        log.debug("device %s", verdict.phase, extra=facts)
    elif verdict.phase is HealthPhase.HEALTHY:
        log.info("device healthy", extra=facts)
    else:
        log.warning("device %s", verdict.phase, extra=facts)


def _quiet(old: Verdict | None, verdict: Verdict) -> bool:
    """Neither the kubelet nor most people care."""
    if verdict.phase in _PASSING or verdict.reason == standing.NOT_LOOKED_AT:
        return True
    back = old is not None and old.phase in _PASSING and old.healthy == verdict.healthy
    return back and verdict.phase is not HealthPhase.UNKNOWN

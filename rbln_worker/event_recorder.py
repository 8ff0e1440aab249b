"""The event recorder of a worker: transitions of its devices and of its registration."""

import logging
from typing import Final

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.messages import Phase
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.device_events import find_transitions
from rbln_worker.core.registration import RegistrationStep, status_phase
from rbln_worker.core.registration_reasons import Reason, reason_text
from rbln_worker.core.step.effects import PublishAnswers, RecordClaims, RecordRegistration
from rbln_worker.process.event_file import EventFile, epoch_now
from rbln_worker.spec import WorkerSpec

_PASSING: Final = frozenset({HealthPhase.SUSPECT, HealthPhase.PROBATION})

MAX_REFUSALS: Final = 256
"""Maximum number of refused claims that are remembered."""

log = logging.getLogger(__name__)


class EventRecorder:
    """A recorder of transitions, each in the pool's file of events at once."""

    def __init__(self, spec: WorkerSpec, counters: WorkerCounters) -> None:
        self._counters = counters
        self._pool = spec.pool
        self._file = EventFile(spec.events_path)
        self._was_listed = False
        self._started = epoch_now()
        self._refusals: dict[str, str] = {}
        """The last refusals of claims, by UID."""
        self._present_at_start: frozenset[DeviceId] | None = None

    def record_verdicts(self, change: PublishAnswers) -> None:
        """Record and log the transitions of devices whose verdicts have changed."""
        before, after = change.before, change.after
        if self._present_at_start is None:
            self._present_at_start = frozenset(after)
        for event in find_transitions(
            *(self._pool, before, after, self._file.last, self._present_at_start, epoch_now())
        ):
            self._file.append_event(event)
        self._file.write_pending()
        for device in sorted(before.keys() | after.keys()):
            _log_change(device, before.get(device), after.get(device))

    def record_registration(self, change: RecordRegistration) -> None:
        """Record, count and log a change of the registration."""
        before, after = change.before, change.after
        was, is_listed = (one.step is RegistrationStep.LISTED for one in (before, after))
        known = after.reason, after.detail
        self._counters.refusals += after.failures > before.failures
        if is_listed and not was:
            self._counters.count_registration(change.unlisted_s)
            self._was_listed = True
            log.info("registered: the kubelet lists the pool", extra={"by": after.way})
        elif after.reason is not Reason.NONE and known != (before.reason, before.detail):
            # No warning before the first kubelet: the plugin is started before it.
            waits = status_phase(after) is Phase.WAITING and not self._was_listed
            level = logging.INFO if waits else logging.WARNING
            log.log(level, "not registered", extra={"why": reason_text(*known)})
        if is_listed != was:
            self._file.record_event(
                "registration",
                "registered" if is_listed else "unregistered",
                pool=self._pool,
                source=after.way or "",
                why=reason_text(*known),
            )
            self._file.write_pending()

    def record_claims(self, change: RecordClaims) -> None:
        """Record claims that were prepared or unprepared in this life."""
        before, after = (
            {one.uid: one for one in claims} for claims in (change.before, change.after)
        )
        prepared = [one for uid, one in after.items() if uid not in before]
        for claim in prepared:
            if claim.since >= self._started:  # not those of earlier workers
                self._record_claim("prepared", claim)
        for uid, claim in before.items():
            if uid not in after:
                self._record_claim("unprepared", claim)
        self._refusals = {uid: why for uid, why in self._refusals.items() if uid not in after}
        self._file.write_pending()

    def record_refusal(self, uid: str, claim: str, why: str) -> None:
        """Record that a claim was refused; not again for the kubelet's next calls."""
        if self._refusals.get(uid) == why:
            return
        if len(self._refusals) >= MAX_REFUSALS:
            self._refusals.clear()
        self._refusals[uid] = why
        self._file.record_event("claim", "refused", pool=self._pool, source=claim, why=why)
        self._file.write_pending()

    def _record_claim(self, what: str, claim: PreparedClaim) -> None:
        devices = ", ".join(claim.devices)
        pods = f" for {', '.join(claim.pods)}" if claim.pods else ""
        self._file.record_event(
            "claim",
            what,
            pool=self._pool,
            source=f"{claim.namespace}/{claim.name}",
            why=f"{devices}{pods}",
        )

    def write_pending(self) -> tuple[Problem, ...]:
        """Write what could not be written before; return the reasons why the file is incomplete."""
        self._file.write_pending()
        problem = self._file.problem
        return (make_problem(Code.EVENTS_NOT_SAVED, problem, self._pool),) if problem else ()


def _log_change(device: DeviceId, old: Verdict | None, verdict: Verdict | None) -> None:
    if verdict is None:
        log.info("device removed", extra={"device": device})
        return
    if old is not None and (old.phase, old.reason) == (verdict.phase, verdict.reason):
        return
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
    if verdict.phase in _PASSING or not verdict.is_checked:
        return True
    back = old is not None and old.phase in _PASSING and old.healthy == verdict.healthy
    return back and verdict.phase is not HealthPhase.UNKNOWN

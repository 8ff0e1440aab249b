"""The health states of a device as a table with every cell written down.

Going down: doubtful evidence must persist (SUSPECT); bad evidence acts at once; missing evidence
keeps the last verdict for a limited time (UNKNOWN). Going up: a device that failed is watched
(PROBATION), longer after each failure, so that a flapping device stays Unhealthy. New evidence
takes precedence over a deadline that has passed: a late timer makes no device Unhealthy.

The number of changes of the kubelet's list is bounded whatever the evidence: n recoveries take at
least the sum of ``probation_s`` of 1 … n, until the device was Healthy for ``reset_after_s``. With
the defaults that is 6 failures within the first minute, 9 within the first ten, then at most two
changes in 300 s.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.health import HealthPolicy, Probation
from rbln_worker.core.health.health_record import SEEN_HEALTHY, HealthRecord, HealthState, Timestamp
from rbln_worker.core.health.observation import Bad, Doubt, Good, Observation, Unknown

MAX_SUSPICIONS: Final = 3
"""This many within SUSPICION_WINDOW_S make a device Unhealthy."""
SUSPICION_WINDOW_S: Final = 10.0
_MAX_DOUBLINGS: Final = 60
"""The limit of doublings: any duration reaches its maximum before, and no float overflows."""


class Due(msgspec.Struct, frozen=True):
    """The deadline of a state has passed with unchanged evidence."""


Event = Observation | Due
Rule = Callable[[HealthRecord, Event, Timestamp, HealthPolicy], HealthRecord]


def step(record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy) -> HealthRecord:
    """Return the record after an event; equal evidence or an early Due changes nothing."""
    if event == record.observation or (isinstance(event, Due) and not deadline_passed(record, now)):
        return record
    return TABLE[record.state, type(event)](record, event, now, policy)


def deadline_passed(record: HealthRecord, now: Timestamp) -> bool:
    """Return True if the deadline has passed."""
    return record.deadline is not None and record.deadline <= now.at


def probation_s(probation: Probation, falls: int) -> float:
    """Return the seconds on probation after this number of failures."""
    doublings = min(falls - 3, _MAX_DOUBLINGS)
    wanted = probation.first_s if falls < 3 else probation.repeat_s * 2.0**doublings
    return float(min(wanted, probation.max_s))


def _keep_state(
    record: HealthRecord, _event: Event, _now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    return record


def _latest_observation(record: HealthRecord, event: Event) -> Observation | None:
    return record.observation if isinstance(event, Due) else event


def _reason_of(event: Event) -> tuple[str, str]:
    """Return source and reason of evidence against a device."""
    return ("", "") if isinstance(event, Good | Due) else (event.source, event.reason)


def _update_reason(
    record: HealthRecord, event: Event, _now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """Keep the state, with a new reason."""
    source, reason = _reason_of(event)
    return msgspec.structs.replace(
        record, observation=_latest_observation(record, event), source=source, reason=reason
    )


def _become_healthy(
    record: HealthRecord, event: Event, now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """Make the device Healthy for the kubelet."""
    return HealthRecord(
        HealthState.HEALTHY,
        _latest_observation(record, event),
        reason="",
        since=now.epoch,
        became_healthy=now,
        failures=record.failures,
        newcomer=record.newcomer,
    )


def _end_suspicion(
    record: HealthRecord, event: Event, now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """End a suspicion: the device was Healthy for the kubelet all the time."""
    since = now.epoch if record.became_healthy is None else record.became_healthy.epoch
    return msgspec.structs.replace(
        record,
        state=HealthState.HEALTHY,
        observation=_latest_observation(record, event),
        source="",
        reason="",
        since=since,
        deadline=None,
    )


def _become_unhealthy(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Make the device Unhealthy."""
    source, reason = (record.source, record.reason) if isinstance(event, Due) else _reason_of(event)
    reset_after_s = policy.probation.reset_after_s
    since = record.became_healthy
    calm = record.state in SEEN_HEALTHY and since and now.at - since.at >= reset_after_s
    return msgspec.structs.replace(
        record,
        state=HealthState.UNHEALTHY,
        observation=_latest_observation(record, event),
        source=source,
        reason=reason,
        since=now.epoch,
        deadline=None,
        suspicions=(),
        failures=(0 if calm else record.failures) + 1,
    )


def _begin_suspicion(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    earlier = tuple(at for at in record.suspicions if now.at - at < SUSPICION_WINDOW_S)
    if len(earlier) + 1 >= MAX_SUSPICIONS:
        fallen = _become_unhealthy(record, event, now, policy)
        often = f"{fallen.reason} ({MAX_SUSPICIONS} times within {SUSPICION_WINDOW_S:g} s)"
        return msgspec.structs.replace(fallen, reason=often)
    if policy.suspect_s <= 0:
        return _become_unhealthy(record, event, now, policy)
    return msgspec.structs.replace(
        _update_reason(record, event, now, policy),
        state=HealthState.SUSPECT,
        since=now.epoch,
        deadline=now.at + policy.suspect_s,
        last_good_at=now.at if record.state is HealthState.HEALTHY else record.last_good_at,
        suspicions=(*earlier, now.at),
    )


def _become_unknown(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    # Counted from the last good evidence, so that a device which alternates between suspect and
    # unknown does not keep its verdict for ever.
    left = now.at if record.state is HealthState.HEALTHY else record.last_good_at
    return msgspec.structs.replace(
        _update_reason(record, event, now, policy),
        state=HealthState.UNKNOWN,
        since=now.epoch,
        deadline=left + policy.unknown_hold_s,
        last_good_at=left,
    )


def _end_unknown(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Make a device Unhealthy that was unknown for too long."""
    fallen = _become_unhealthy(record, event, now, policy)
    why = f"unknown for {policy.unknown_hold_s:g} s: {record.reason}"
    return msgspec.structs.replace(fallen, reason=why)


def _begin_probation(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Start the probation of a device with good evidence."""
    watched_s = probation_s(policy.probation, record.failures)
    if record.became_healthy is None or watched_s <= 0:  # never Healthy before: no probation
        return _become_healthy(record, event, now, policy)
    return msgspec.structs.replace(
        record,
        state=HealthState.PROBATION,
        observation=_latest_observation(record, event),
        since=now.epoch,
        deadline=now.at + watched_s,
    )


def _fail_probation(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """End the probation, Unhealthy as before; Unknown evidence does not count as a failure."""
    fallen = _become_unhealthy(record, event, now, policy)
    if isinstance(event, Unknown):
        return msgspec.structs.replace(fallen, failures=record.failures)
    return fallen


def _fail_new_device(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Make a device Unhealthy that never was Healthy; this does not count as a failure."""
    failed = _become_unhealthy(record, event, now, policy)
    return msgspec.structs.replace(failed, failures=record.failures)


def _wait_for_newcomer(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Wait for a newcomer to be complete: its node follows its driver (by up to 9 ms: vfio)."""
    if not record.newcomer or policy.suspect_s <= 0:
        return _fail_new_device(record, event, now, policy)
    deadline = now.at + policy.suspect_s if record.deadline is None else record.deadline
    return msgspec.structs.replace(_update_reason(record, event, now, policy), deadline=deadline)


TABLE: Final[Mapping[tuple[HealthState, type[Event]], Rule]] = {
    (HealthState.NEW, Good): _become_healthy,
    (HealthState.NEW, Bad): _fail_new_device,
    (HealthState.NEW, Doubt): _wait_for_newcomer,
    (HealthState.NEW, Unknown): _fail_new_device,
    (HealthState.NEW, Due): _fail_new_device,
    (HealthState.HEALTHY, Good): _keep_state,
    (HealthState.HEALTHY, Bad): _become_unhealthy,
    (HealthState.HEALTHY, Doubt): _begin_suspicion,
    (HealthState.HEALTHY, Unknown): _become_unknown,
    (HealthState.HEALTHY, Due): _keep_state,
    (HealthState.SUSPECT, Good): _end_suspicion,
    (HealthState.SUSPECT, Bad): _become_unhealthy,
    (HealthState.SUSPECT, Doubt): _update_reason,
    (HealthState.SUSPECT, Unknown): _become_unknown,
    (HealthState.SUSPECT, Due): _become_unhealthy,
    (HealthState.UNHEALTHY, Good): _begin_probation,
    (HealthState.UNHEALTHY, Bad): _update_reason,
    (HealthState.UNHEALTHY, Doubt): _update_reason,
    (HealthState.UNHEALTHY, Unknown): _update_reason,
    (HealthState.UNHEALTHY, Due): _keep_state,
    (HealthState.PROBATION, Good): _keep_state,
    (HealthState.PROBATION, Bad): _fail_probation,
    (HealthState.PROBATION, Doubt): _fail_probation,
    (HealthState.PROBATION, Unknown): _fail_probation,
    (HealthState.PROBATION, Due): _become_healthy,
    (HealthState.UNKNOWN, Good): _end_suspicion,
    (HealthState.UNKNOWN, Bad): _become_unhealthy,
    (HealthState.UNKNOWN, Doubt): _begin_suspicion,
    (HealthState.UNKNOWN, Unknown): _update_reason,
    (HealthState.UNKNOWN, Due): _end_unknown,
}

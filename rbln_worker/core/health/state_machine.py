"""The health states of a device as a table with every cell written down.

Going down: doubtful evidence must persist (SUSPECT); bad evidence acts at once; missing evidence
keeps the last verdict for a limited time (UNKNOWN). Going up: a device that failed is watched
(PROBATION), longer after each failure, so that a flapping device stays Unhealthy. New evidence
takes precedence over a deadline that has passed: a late timer makes no device Unhealthy.

The number of changes of the kubelet's list is bounded whatever the evidence: n recoveries take at
least the sum of ``probation_s`` of 1 … n, until the device was Healthy for ``calm_s``. With the
defaults that is 6 failures within the first minute, 9 within the first ten, then at most two
changes in 300 s.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.health import HealthPolicy, Probation
from rbln_worker.core.health.health_record import SHOWN_HEALTHY, HealthRecord, State, Timestamp
from rbln_worker.core.health.observation import Bad, Doubt, Good, Observation, Unknown

SUSPICIONS_MOST: Final = 3
"""This many within SUSPICIONS_WITHIN_S make a device Unhealthy."""
SUSPICIONS_WITHIN_S: Final = 10.0
_DOUBLINGS_MOST: Final = 60
"""The limit of doublings: any duration reaches its maximum before, and no float overflows."""


class Due(msgspec.Struct, frozen=True):
    """The deadline of a state has passed with unchanged evidence."""


Event = Observation | Due
Rule = Callable[[HealthRecord, Event, Timestamp, HealthPolicy], HealthRecord]


def step(record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy) -> HealthRecord:
    """Return the record after an event; equal evidence or an early Due changes nothing."""
    if event == record.seen or (isinstance(event, Due) and not overdue(record, now)):
        return record
    return TABLE[record.state, type(event)](record, event, now, policy)


def due(record: HealthRecord) -> float | None:
    """Return the deadline of the state (monotonic seconds); None for a stable state."""
    return record.deadline


def overdue(record: HealthRecord, now: Timestamp) -> bool:
    """Return True if the deadline has passed."""
    return record.deadline is not None and record.deadline <= now.at


def probation_s(probation: Probation, falls: int) -> float:
    """Return the seconds on probation after this number of failures."""
    doublings = min(falls - 3, _DOUBLINGS_MOST)
    wanted = probation.first_s if falls < 3 else probation.again_s * 2.0**doublings
    return float(min(wanted, probation.most_s))


def _stay(
    record: HealthRecord, _event: Event, _now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    return record


def _seen(record: HealthRecord, event: Event) -> Observation | None:
    return record.seen if isinstance(event, Due) else event


def _told(event: Event) -> tuple[str, str]:
    """Return source and reason of evidence against a device."""
    return ("", "") if isinstance(event, Good | Due) else (event.source, event.reason)


def _note(
    record: HealthRecord, event: Event, _now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """Keep the state, with a new reason."""
    source, reason = _told(event)
    return msgspec.structs.replace(record, seen=_seen(record, event), source=source, reason=reason)


def _rise(
    record: HealthRecord, event: Event, now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """Make the device Healthy for the kubelet."""
    return HealthRecord(
        State.HEALTHY,
        _seen(record, event),
        reason="",
        since=now.epoch,
        well=now,
        falls=record.falls,
        newcomer=record.newcomer,
    )


def _clear(
    record: HealthRecord, event: Event, now: Timestamp, _policy: HealthPolicy
) -> HealthRecord:
    """End a suspicion: the device was Healthy for the kubelet all the time."""
    since = now.epoch if record.well is None else record.well.epoch
    return msgspec.structs.replace(
        record,
        state=State.HEALTHY,
        seen=_seen(record, event),
        source="",
        reason="",
        since=since,
        deadline=None,
    )


def _fall(record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy) -> HealthRecord:
    """Make the device Unhealthy."""
    source, reason = (record.source, record.reason) if isinstance(event, Due) else _told(event)
    calm_s = policy.probation.calm_s
    calm = record.state in SHOWN_HEALTHY and record.well and now.at - record.well.at >= calm_s
    return msgspec.structs.replace(
        record,
        state=State.UNHEALTHY,
        seen=_seen(record, event),
        source=source,
        reason=reason,
        since=now.epoch,
        deadline=None,
        suspicions=(),
        falls=(0 if calm else record.falls) + 1,
    )


def _suspect(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    earlier = tuple(at for at in record.suspicions if now.at - at < SUSPICIONS_WITHIN_S)
    if len(earlier) + 1 >= SUSPICIONS_MOST:
        fallen = _fall(record, event, now, policy)
        often = f"{fallen.reason} ({SUSPICIONS_MOST} times within {SUSPICIONS_WITHIN_S:g} s)"
        return msgspec.structs.replace(fallen, reason=often)
    if policy.suspect_s <= 0:
        return _fall(record, event, now, policy)
    return msgspec.structs.replace(
        _note(record, event, now, policy),
        state=State.SUSPECT,
        since=now.epoch,
        deadline=now.at + policy.suspect_s,
        left=now.at if record.state is State.HEALTHY else record.left,
        suspicions=(*earlier, now.at),
    )


def _lose_sight(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    # Counted from the last good evidence, so that a device which alternates between suspect and
    # unknown does not keep its verdict for ever.
    left = now.at if record.state is State.HEALTHY else record.left
    return msgspec.structs.replace(
        _note(record, event, now, policy),
        state=State.UNKNOWN,
        since=now.epoch,
        deadline=left + policy.unknown_hold_s,
        left=left,
    )


def _give_up(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Make a device Unhealthy that was unknown for too long."""
    fallen = _fall(record, event, now, policy)
    why = f"unknown for {policy.unknown_hold_s:g} s: {record.reason}"
    return msgspec.structs.replace(fallen, reason=why)


def _recover(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Start the probation of a device with good evidence."""
    watched_s = probation_s(policy.probation, record.falls)
    if record.well is None or watched_s <= 0:  # never Healthy before: no probation
        return _rise(record, event, now, policy)
    return msgspec.structs.replace(
        record,
        state=State.PROBATION,
        seen=_seen(record, event),
        since=now.epoch,
        deadline=now.at + watched_s,
    )


def _relapse(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """End the probation, Unhealthy as before; Unknown evidence does not count as a failure."""
    fallen = _fall(record, event, now, policy)
    if isinstance(event, Unknown):
        return msgspec.structs.replace(fallen, falls=record.falls)
    return fallen


def _condemn(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Make a device Unhealthy that never was Healthy; this does not count as a failure."""
    return msgspec.structs.replace(_fall(record, event, now, policy), falls=record.falls)


def _await(
    record: HealthRecord, event: Event, now: Timestamp, policy: HealthPolicy
) -> HealthRecord:
    """Wait for a newcomer to be complete: its node follows its driver (by up to 9 ms: vfio)."""
    if not record.newcomer or policy.suspect_s <= 0:
        return _condemn(record, event, now, policy)
    deadline = now.at + policy.suspect_s if record.deadline is None else record.deadline
    return msgspec.structs.replace(_note(record, event, now, policy), deadline=deadline)


TABLE: Final[Mapping[tuple[State, type[Event]], Rule]] = {
    (State.NEW, Good): _rise,
    (State.NEW, Bad): _condemn,
    (State.NEW, Doubt): _await,
    (State.NEW, Unknown): _condemn,
    (State.NEW, Due): _condemn,
    (State.HEALTHY, Good): _stay,
    (State.HEALTHY, Bad): _fall,
    (State.HEALTHY, Doubt): _suspect,
    (State.HEALTHY, Unknown): _lose_sight,
    (State.HEALTHY, Due): _stay,
    (State.SUSPECT, Good): _clear,
    (State.SUSPECT, Bad): _fall,
    (State.SUSPECT, Doubt): _note,
    (State.SUSPECT, Unknown): _lose_sight,
    (State.SUSPECT, Due): _fall,
    (State.UNHEALTHY, Good): _recover,
    (State.UNHEALTHY, Bad): _note,
    (State.UNHEALTHY, Doubt): _note,
    (State.UNHEALTHY, Unknown): _note,
    (State.UNHEALTHY, Due): _stay,
    (State.PROBATION, Good): _stay,
    (State.PROBATION, Bad): _relapse,
    (State.PROBATION, Doubt): _relapse,
    (State.PROBATION, Unknown): _relapse,
    (State.PROBATION, Due): _rise,
    (State.UNKNOWN, Good): _clear,
    (State.UNKNOWN, Bad): _fall,
    (State.UNKNOWN, Doubt): _suspect,
    (State.UNKNOWN, Unknown): _note,
    (State.UNKNOWN, Due): _give_up,
}

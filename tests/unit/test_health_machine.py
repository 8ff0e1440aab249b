"""Where a device stands, over time: a whole table, and the times in it."""

from itertools import product

import msgspec
import pytest

from rbln_worker.contract.health import HealthPhase, HealthPolicy, Probation
from rbln_worker.core.health.health_record import (
    NOT_CHECKED,
    SEEN_HEALTHY,
    HealthRecord,
    HealthState,
    Timestamp,
    is_listed,
    make_verdict,
)
from rbln_worker.core.health.observation import (
    GOOD,
    Bad,
    Doubt,
    Good,
    Observation,
    Unknown,
    worst_of,
)
from rbln_worker.core.health.state_machine import (
    TABLE,
    Due,
    Event,
    probation_s,
    step,
)

POLICY = HealthPolicy()
FAULT = Bad("npu-status", "its status is FAULT (3)")
DOWN = Doubt("link", "its link p0 is down (no carrier)")
SILENT = Unknown("files", "its files did not answer within 5 s")
EVENTS: tuple[Event, ...] = (GOOD, FAULT, DOWN, SILENT, Due())


def moment(at: float) -> Timestamp:
    return Timestamp(at, 1_000_000.0 + at)


def play(*events: tuple[float, Event], record: HealthRecord | None = None) -> HealthRecord:
    """The record after events at monotonic times; deadlines are kept as a timer would."""
    record = record or HealthRecord()
    for at, event in events:
        while (deadline := record.deadline) is not None and deadline <= at:
            record = step(record, Due(), moment(deadline), POLICY)
        record = step(record, event, moment(at), POLICY)
    return record


def test_every_cell_is_written_down() -> None:
    assert set(TABLE) == set(product(HealthState, map(type, EVENTS)))
    assert {make_verdict(HealthRecord(one)).phase for one in HealthState} == set(HealthPhase)


@pytest.mark.parametrize("well", [moment(0.5), None])
@pytest.mark.parametrize(("state", "event"), list(product(HealthState, EVENTS)))
def test_no_cell_fails_and_only_what_waits_has_a_deadline(
    state: HealthState, event: Event, well: Timestamp | None
) -> None:
    waits = {HealthState.SUSPECT, HealthState.PROBATION, HealthState.UNKNOWN}
    before = HealthRecord(
        state,
        source="" if state is HealthState.HEALTHY else "x",
        reason="" if state is HealthState.HEALTHY else "y",
        deadline=1.0 if state in waits else None,
        became_healthy=well,
    )
    after = step(before, event, moment(2.0), POLICY)
    assert (after.deadline is not None) is (after.state in waits)
    told = make_verdict(after)
    assert told.healthy is (after.state in SEEN_HEALTHY)
    assert bool(told.reason) is bool(told.source) is (after.state is not HealthState.HEALTHY)


def test_nobody_has_looked_at_a_new_device() -> None:
    told = make_verdict(HealthRecord())
    assert (told.healthy, told.phase, told.reason) == (False, HealthPhase.UNHEALTHY, NOT_CHECKED)
    assert is_listed(HealthRecord())
    assert not is_listed(HealthRecord(newcomer=True))


def test_a_device_that_never_was_healthy_becomes_so_at_once() -> None:
    record = play((0, FAULT), (1, DOWN), (2, SILENT), (3, GOOD))
    assert record.state is HealthState.HEALTHY
    assert (record.failures, record.deadline, make_verdict(record).since) == (
        0,
        None,
        1_000_003.0,
    )


@pytest.mark.parametrize("evidence", [FAULT, DOWN, SILENT])
def test_a_device_of_which_nothing_good_is_known_is_not_healthy(evidence: Observation) -> None:
    record = play((0, evidence))
    assert record.state is HealthState.UNHEALTHY
    assert isinstance(evidence, Bad | Doubt | Unknown)
    assert make_verdict(record).reason == evidence.reason
    assert make_verdict(record).source == evidence.source


def test_a_newcomer_is_complete_a_little_later() -> None:
    record = play((0, DOWN), record=HealthRecord(newcomer=True))
    assert not is_listed(record)
    assert record.deadline == POLICY.suspect_s
    assert play((0.02, GOOD), record=record).state is HealthState.HEALTHY
    late = play((0.02, Doubt("node", "another")), (0.03, Due()), record=record)
    assert is_listed(late)
    assert make_verdict(late).reason == "another"
    assert is_listed(play((0, FAULT), record=HealthRecord(newcomer=True)))
    assert is_listed(play((0, SILENT), record=HealthRecord(newcomer=True)))


def test_what_is_sure_is_believed_at_once() -> None:
    record = play((0, GOOD), (5, FAULT))
    assert (record.state, record.failures) == (HealthState.UNHEALTHY, 1)
    told = make_verdict(record)
    assert (told.reason, told.source, told.since) == (FAULT.reason, FAULT.source, 1_000_005.0)


def test_what_may_be_a_flicker_has_to_last() -> None:
    record = play((0, GOOD), (5, DOWN))
    assert record.state is HealthState.SUSPECT
    assert record.deadline == 5 + POLICY.suspect_s
    told = make_verdict(record)
    assert (told.healthy, told.phase, told.reason) == (True, HealthPhase.SUSPECT, DOWN.reason)
    back = play((5.02, GOOD), record=record)
    assert make_verdict(back) == make_verdict(play((0, GOOD)))  # nobody hears of it
    assert play((5.03, Due()), record=record).state is HealthState.UNHEALTHY


def test_a_suspect_that_is_sure_to_be_bad_falls_at_once() -> None:
    assert play((0, GOOD), (5, DOWN), (5.01, FAULT)).state is HealthState.UNHEALTHY


def test_a_new_reason_for_a_suspicion_is_no_new_suspicion() -> None:
    record = play((0, GOOD), (5, DOWN), (5.02, Doubt("node", "gone")))
    assert record.deadline == 5 + POLICY.suspect_s
    assert make_verdict(record).reason == "gone"


def test_the_third_suspicion_within_ten_seconds_is_one_too_many() -> None:
    record = play((0, GOOD), (1, DOWN), (1.01, GOOD), (5, DOWN), (5.01, GOOD), (10.9, DOWN))
    assert record.state is HealthState.UNHEALTHY
    assert make_verdict(record).reason == f"{DOWN.reason} (3 times within 10 s)"
    record = play((0, GOOD), (1, DOWN), (1.01, GOOD), (5, DOWN), (5.01, GOOD), (11, DOWN))
    assert record.state is HealthState.SUSPECT


def test_who_fell_is_watched_longer_each_time() -> None:
    record = play((0, GOOD))
    at = 0.0
    for falls, watched in ((1, 0.05), (2, 0.05), (3, 5.0), (4, 10.0), (5, 20.0)):
        record = play((at, FAULT), (at, GOOD), record=record)
        assert (record.state, record.failures) == (HealthState.PROBATION, falls)
        assert record.deadline == pytest.approx(at + watched)
        told = make_verdict(record)
        assert not told.healthy
        assert FAULT.reason in told.reason
        at += watched
        record = play((at, Due()), record=record)
        assert (record.state, record.deadline) == (HealthState.HEALTHY, None)


def test_a_fall_on_probation_counts() -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (2.01, DOWN))
    assert (record.state, record.failures, make_verdict(record).reason) == (
        HealthState.UNHEALTHY,
        2,
        DOWN.reason,
    )
    unknown = play((0, GOOD), (1, FAULT), (2, GOOD), (2.01, SILENT))
    assert (unknown.state, unknown.failures) == (HealthState.UNHEALTHY, 1)


@pytest.mark.parametrize(("health_s", "falls"), [(599.0, 3), (600.0, 1)])
def test_falls_are_forgotten_after_a_calm(health_s: float, falls: int) -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (3, FAULT), (4, GOOD), (4.05, Due()))
    assert (record.state, record.failures) == (HealthState.HEALTHY, 2)
    assert play((4.05 + health_s, FAULT), record=record).failures == falls


def test_a_suspicion_does_not_end_a_calm() -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (300, DOWN), (300.01, GOOD), (610, FAULT))
    assert record.failures == 1


def test_what_is_unknown_holds_the_last_verdict_for_a_while() -> None:
    record = play((0, GOOD), (5, SILENT))
    assert (record.state, record.deadline) == (HealthState.UNKNOWN, 35.0)
    told = make_verdict(record)
    assert (told.healthy, told.phase, told.reason) == (True, HealthPhase.UNKNOWN, SILENT.reason)
    assert play((34, GOOD), record=record).state is HealthState.HEALTHY
    assert play((34, FAULT), record=record).state is HealthState.UNHEALTHY
    assert play((34, DOWN), record=record).state is HealthState.SUSPECT
    given_up = play((35, Due()), record=record)
    assert given_up.state is HealthState.UNHEALTHY
    assert make_verdict(given_up).reason == f"unknown for 30 s: {SILENT.reason}"
    assert play((36, SILENT), record=given_up) == given_up


def test_suspect_and_unknown_by_turns_are_not_held_for_ever() -> None:
    record = play((0, GOOD), (5, SILENT), (20, DOWN), (20.01, SILENT))
    assert (record.state, record.deadline) == (HealthState.UNKNOWN, 35.0)


def test_a_late_timer_condemns_nobody() -> None:
    """New evidence that comes before a deadline was noticed goes before it."""
    suspect = step(play((0, GOOD), (5, DOWN)), GOOD, moment(9), POLICY)
    unknown = step(play((0, GOOD), (5, SILENT)), GOOD, moment(99), POLICY)
    assert suspect.state is unknown.state is HealthState.HEALTHY
    watched = step(play((0, GOOD), (5, FAULT), (6, GOOD)), FAULT, moment(9), POLICY)
    assert (watched.state, watched.failures) == (HealthState.UNHEALTHY, 2)


def test_a_deadline_that_has_not_come_changes_nothing() -> None:
    record = play((0, GOOD), (5, DOWN))
    assert step(record, Due(), moment(5.029), POLICY) is record


def test_no_windows_at_all() -> None:
    policy = HealthPolicy(suspect_s=0, unknown_hold_s=0, probation=Probation(0, 0, 0, 0))
    record = step(HealthRecord(), GOOD, moment(0), policy)
    fallen = step(record, DOWN, moment(1), policy)
    assert fallen.state is HealthState.UNHEALTHY
    assert step(fallen, GOOD, moment(1), policy).state is HealthState.HEALTHY
    unknown = step(record, SILENT, moment(1), policy)
    assert step(unknown, Due(), moment(1), policy).state is HealthState.UNHEALTHY


@pytest.mark.parametrize("falls", [0, 1, 2, 3, 10, 1_000, 10**9])
def test_no_number_of_falls_is_too_much(falls: int) -> None:
    assert 0.05 <= probation_s(Probation(), falls) <= 300
    assert probation_s(Probation(max_s=1.0), falls) <= 1.0
    assert probation_s(Probation(first_s=9, max_s=1.0), 1) == 1.0


def test_the_worst_decides_and_of_equals_the_first() -> None:
    others: list[Observation] = [GOOD, SILENT, DOWN, FAULT, Bad("x", "later"), Doubt("x", "later")]
    assert worst_of(others) == FAULT
    assert worst_of([GOOD, SILENT, DOWN]) == DOWN
    assert worst_of([GOOD, SILENT]) == SILENT
    assert isinstance(worst_of([]), Good)


def test_a_record_is_a_value() -> None:
    assert msgspec.structs.replace(HealthRecord()) == HealthRecord()

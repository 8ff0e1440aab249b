"""Where a device stands, over time: a whole table, and the times in it."""

from itertools import product

import msgspec
import pytest

from rbln_worker.contract.health import HealthPhase, HealthPolicy, Probation
from rbln_worker.core.health.health_record import (
    NOT_LOOKED_AT,
    PHASES,
    SHOWN_HEALTHY,
    HealthRecord,
    State,
    Timestamp,
    listed,
    verdict,
)
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Good, Observation, Unknown, worst
from rbln_worker.core.health.state_machine import TABLE, Due, Event, due, probation_s, step

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
        while (deadline := due(record)) is not None and deadline <= at:
            record = step(record, Due(), moment(deadline), POLICY)
        record = step(record, event, moment(at), POLICY)
    return record


def test_every_cell_is_written_down() -> None:
    assert set(TABLE) == set(product(State, map(type, EVENTS)))
    assert set(PHASES) == set(State)
    assert set(PHASES.values()) == set(HealthPhase)


@pytest.mark.parametrize("well", [moment(0.5), None])
@pytest.mark.parametrize(("state", "event"), list(product(State, EVENTS)))
def test_no_cell_fails_and_only_what_waits_has_a_deadline(
    state: State, event: Event, well: Timestamp | None
) -> None:
    waits = {State.SUSPECT, State.PROBATION, State.UNKNOWN}
    before = HealthRecord(
        state,
        source="" if state is State.HEALTHY else "x",
        reason="" if state is State.HEALTHY else "y",
        deadline=1.0 if state in waits else None,
        well=well,
    )
    after = step(before, event, moment(2.0), POLICY)
    assert (after.deadline is not None) is (after.state in waits)
    told = verdict(after)
    assert told.healthy is (after.state in SHOWN_HEALTHY)
    assert bool(told.reason) is bool(told.source) is (after.state is not State.HEALTHY)


def test_nobody_has_looked_at_a_new_device() -> None:
    told = verdict(HealthRecord())
    assert (told.healthy, told.phase, told.reason) == (False, HealthPhase.UNHEALTHY, NOT_LOOKED_AT)
    assert listed(HealthRecord())
    assert not listed(HealthRecord(newcomer=True))


def test_a_device_that_never_was_healthy_becomes_so_at_once() -> None:
    record = play((0, FAULT), (1, DOWN), (2, SILENT), (3, GOOD))
    assert record.state is State.HEALTHY
    assert (record.falls, due(record), verdict(record).since) == (0, None, 1_000_003.0)


@pytest.mark.parametrize("evidence", [FAULT, DOWN, SILENT])
def test_a_device_of_which_nothing_good_is_known_is_not_healthy(evidence: Observation) -> None:
    record = play((0, evidence))
    assert record.state is State.UNHEALTHY
    assert isinstance(evidence, Bad | Doubt | Unknown)
    assert verdict(record).reason == evidence.reason
    assert verdict(record).source == evidence.source


def test_a_newcomer_is_complete_a_little_later() -> None:
    record = play((0, DOWN), record=HealthRecord(newcomer=True))
    assert not listed(record)
    assert due(record) == POLICY.suspect_s
    assert play((0.02, GOOD), record=record).state is State.HEALTHY
    late = play((0.02, Doubt("node", "another")), (0.03, Due()), record=record)
    assert listed(late)
    assert verdict(late).reason == "another"
    assert listed(play((0, FAULT), record=HealthRecord(newcomer=True)))
    assert listed(play((0, SILENT), record=HealthRecord(newcomer=True)))


def test_what_is_sure_is_believed_at_once() -> None:
    record = play((0, GOOD), (5, FAULT))
    assert (record.state, record.falls) == (State.UNHEALTHY, 1)
    told = verdict(record)
    assert (told.reason, told.source, told.since) == (FAULT.reason, FAULT.source, 1_000_005.0)


def test_what_may_be_a_flicker_has_to_last() -> None:
    record = play((0, GOOD), (5, DOWN))
    assert record.state is State.SUSPECT
    assert due(record) == 5 + POLICY.suspect_s
    told = verdict(record)
    assert (told.healthy, told.phase, told.reason) == (True, HealthPhase.SUSPECT, DOWN.reason)
    back = play((5.02, GOOD), record=record)
    assert verdict(back) == verdict(play((0, GOOD)))  # nobody hears of it
    assert play((5.03, Due()), record=record).state is State.UNHEALTHY


def test_a_suspect_that_is_sure_to_be_bad_falls_at_once() -> None:
    assert play((0, GOOD), (5, DOWN), (5.01, FAULT)).state is State.UNHEALTHY


def test_a_new_reason_for_a_suspicion_is_no_new_suspicion() -> None:
    record = play((0, GOOD), (5, DOWN), (5.02, Doubt("node", "gone")))
    assert due(record) == 5 + POLICY.suspect_s
    assert verdict(record).reason == "gone"


def test_the_third_suspicion_within_ten_seconds_is_one_too_many() -> None:
    record = play((0, GOOD), (1, DOWN), (1.01, GOOD), (5, DOWN), (5.01, GOOD), (10.9, DOWN))
    assert record.state is State.UNHEALTHY
    assert verdict(record).reason == f"{DOWN.reason} (3 times within 10 s)"
    record = play((0, GOOD), (1, DOWN), (1.01, GOOD), (5, DOWN), (5.01, GOOD), (11, DOWN))
    assert record.state is State.SUSPECT


def test_who_fell_is_watched_longer_each_time() -> None:
    record = play((0, GOOD))
    at = 0.0
    for falls, watched in ((1, 0.05), (2, 0.05), (3, 5.0), (4, 10.0), (5, 20.0)):
        record = play((at, FAULT), (at, GOOD), record=record)
        assert (record.state, record.falls) == (State.PROBATION, falls)
        assert due(record) == pytest.approx(at + watched)
        told = verdict(record)
        assert not told.healthy
        assert FAULT.reason in told.reason
        at += watched
        record = play((at, Due()), record=record)
        assert (record.state, due(record)) == (State.HEALTHY, None)


def test_a_fall_on_probation_counts() -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (2.01, DOWN))
    assert (record.state, record.falls, verdict(record).reason) == (
        State.UNHEALTHY,
        2,
        DOWN.reason,
    )
    unknown = play((0, GOOD), (1, FAULT), (2, GOOD), (2.01, SILENT))
    assert (unknown.state, unknown.falls) == (State.UNHEALTHY, 1)


@pytest.mark.parametrize(("health_s", "falls"), [(599.0, 3), (600.0, 1)])
def test_falls_are_forgotten_after_a_calm(health_s: float, falls: int) -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (3, FAULT), (4, GOOD), (4.05, Due()))
    assert (record.state, record.falls) == (State.HEALTHY, 2)
    assert play((4.05 + health_s, FAULT), record=record).falls == falls


def test_a_suspicion_does_not_end_a_calm() -> None:
    record = play((0, GOOD), (1, FAULT), (2, GOOD), (300, DOWN), (300.01, GOOD), (610, FAULT))
    assert record.falls == 1


def test_what_is_unknown_holds_the_last_verdict_for_a_while() -> None:
    record = play((0, GOOD), (5, SILENT))
    assert (record.state, due(record)) == (State.UNKNOWN, 35.0)
    told = verdict(record)
    assert (told.healthy, told.phase, told.reason) == (True, HealthPhase.UNKNOWN, SILENT.reason)
    assert play((34, GOOD), record=record).state is State.HEALTHY
    assert play((34, FAULT), record=record).state is State.UNHEALTHY
    assert play((34, DOWN), record=record).state is State.SUSPECT
    given_up = play((35, Due()), record=record)
    assert given_up.state is State.UNHEALTHY
    assert verdict(given_up).reason == f"unknown for 30 s: {SILENT.reason}"
    assert play((36, SILENT), record=given_up) == given_up


def test_suspect_and_unknown_by_turns_are_not_held_for_ever() -> None:
    record = play((0, GOOD), (5, SILENT), (20, DOWN), (20.01, SILENT))
    assert (record.state, due(record)) == (State.UNKNOWN, 35.0)


def test_a_late_timer_condemns_nobody() -> None:
    """New evidence that comes before a deadline was noticed goes before it."""
    suspect = step(play((0, GOOD), (5, DOWN)), GOOD, moment(9), POLICY)
    unknown = step(play((0, GOOD), (5, SILENT)), GOOD, moment(99), POLICY)
    assert suspect.state is unknown.state is State.HEALTHY
    watched = step(play((0, GOOD), (5, FAULT), (6, GOOD)), FAULT, moment(9), POLICY)
    assert (watched.state, watched.falls) == (State.UNHEALTHY, 2)


def test_a_deadline_that_has_not_come_changes_nothing() -> None:
    record = play((0, GOOD), (5, DOWN))
    assert step(record, Due(), moment(5.029), POLICY) is record


def test_no_windows_at_all() -> None:
    policy = HealthPolicy(suspect_s=0, unknown_hold_s=0, probation=Probation(0, 0, 0, 0))
    record = step(HealthRecord(), GOOD, moment(0), policy)
    fallen = step(record, DOWN, moment(1), policy)
    assert fallen.state is State.UNHEALTHY
    assert step(fallen, GOOD, moment(1), policy).state is State.HEALTHY
    unknown = step(record, SILENT, moment(1), policy)
    assert step(unknown, Due(), moment(1), policy).state is State.UNHEALTHY


@pytest.mark.parametrize("falls", [0, 1, 2, 3, 10, 1_000, 10**9])
def test_no_number_of_falls_is_too_much(falls: int) -> None:
    assert 0.05 <= probation_s(Probation(), falls) <= 300
    assert probation_s(Probation(most_s=1.0), falls) <= 1.0
    assert probation_s(Probation(first_s=9, most_s=1.0), 1) == 1.0


def test_the_worst_decides_and_of_equals_the_first() -> None:
    others: list[Observation] = [GOOD, SILENT, DOWN, FAULT, Bad("x", "later"), Doubt("x", "later")]
    assert worst(others) == FAULT
    assert worst([GOOD, SILENT, DOWN]) == DOWN
    assert worst([GOOD, SILENT]) == SILENT
    assert isinstance(worst([]), Good)


def test_a_record_is_a_value() -> None:
    assert msgspec.structs.replace(HealthRecord()) == HealthRecord()

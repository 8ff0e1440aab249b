"""Decisions about Kubernetes Events: occurrences, groups, texts, series, the outbox."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.events.node_condition import (
    condition_patch,
    heartbeat_s,
    next_condition,
)
from rbln_supervisor.core.events.notes import MAX_NOTE_BYTES, event_note
from rbln_supervisor.core.events.occurrences import (
    FlapHistory,
    Occurrence,
    OccurrenceGroup,
    find_occurrences,
    group_occurrences,
)
from rbln_supervisor.core.events.reasons import EventReason
from rbln_supervisor.core.events.series import (
    BURST,
    INTERVAL_S,
    MAX_OUTBOX,
    MAX_SERIES,
    SERIES_S,
    AgentState,
    EventSubject,
    Outcome,
    add_groups,
    after_call,
    call_outcome,
)
from rbln_worker.contract.events import Event
from rbln_worker.core.kube.pacing import CallBudget
from tests.unit.pages import REPOSITORY

NOW: Final = 1_800_000_000.0
POOL: Final = "rebellions.ai/ATOM"
POD: Final = EventSubject("Pod", "train-0", "ml", "u-1")


def event(what: str, device: str = "a", at: float = NOW, why: str = "broken") -> Event:
    return Event(at, "device", what, POOL, device, "npu-status", why)


def groups_of(*events: Event, now: float = NOW) -> tuple[OccurrenceGroup, ...]:
    return group_occurrences(find_occurrences(events, FlapHistory(), now)[0])


def bodies(state: AgentState) -> list[Any]:
    return [one.body for one in state.outbox]


@pytest.mark.parametrize(
    ("given_event", "reason"),
    [
        (event("Unhealthy"), "DeviceUnhealthy"),
        (event("Healthy"), "DeviceHealthy"),
        (event("Unknown"), "DeviceNotAnswering"),
        (event("left"), "DeviceRemoved"),
        (Event(NOW, "worker", "died", POOL), "PoolWorkerRestarted"),
        (Event(NOW, "worker", "not started", POOL), "PoolWorkerRestarted"),
        (Event(NOW, "worker", "left", POOL), None),
        (Event(NOW, "worker", "started", POOL), None),
        (Event(NOW, "pool", "invalid", POOL), "PoolInvalid"),
        (Event(NOW, "pool", "serving", POOL), None),
        (Event(NOW, "reload", "refused"), "ConfigurationRefused"),
        (Event(NOW, "reload", "done"), "ConfigurationApplied"),
        (Event(NOW, "kubelet", "restarted"), None),
        (Event(NOW, "pod", "holds", POOL, "a"), None),
        (event("Unhealthy", at=NOW - 3601), None),
    ],
)
def test_the_reason_of_an_event(given_event: Event, reason: str | None) -> None:
    found = groups_of(given_event)
    assert [str(one.reason) for one in found] == ([reason] if reason else [])


def test_devices_of_one_cause_are_one_group_and_recoveries_another() -> None:
    groups = groups_of(
        event("Unhealthy", "b"), event("Unhealthy", "a"), event("Healthy", "b", NOW + 1)
    )
    found = [(one.reason, [member.device for member in one.members]) for one in groups]
    assert found == [("DeviceUnhealthy", ["a", "b"]), ("DeviceHealthy", ["b"])]


def test_each_of_several_failures_in_one_batch_counts() -> None:
    groups = groups_of(*(event("Unhealthy", one, NOW + at) for at, one in enumerate("abab")))
    assert [[one.device for one in group.members] for group in groups] == [["a", "b"], ["a", "b"]]
    (first, again) = add_groups(AgentState(), groups, {}, "n1").outbox
    assert (first.name, again.count) == (again.name, 2)


def test_the_third_failure_within_ten_minutes_is_flapping() -> None:
    history = FlapHistory()
    reasons = []
    for at in (0.0, 200.0, 400.0, 799.0, 1500.0):
        found, history = find_occurrences([event("Unhealthy", at=NOW + at)], history, NOW + at)
        reasons += [str(one.reason) for one in found]
    flapping, once = "DeviceFlapping", "DeviceUnhealthy"
    assert reasons == [once, once, flapping, flapping, once]


def test_failures_of_a_clock_that_was_set_back_are_forgotten() -> None:
    history = FlapHistory()
    reasons = []
    for at in (86_400.0, 86_401.0, 0.0, 1.0, 2.0):
        found, history = find_occurrences([event("Unhealthy", at=NOW + at)], history, NOW + at)
        reasons += [str(one.reason) for one in found]
    assert reasons == [*["DeviceUnhealthy"] * 4, "DeviceFlapping"]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([event("Unhealthy")], f"device a of {POOL} is Unhealthy: broken"),
        (
            [event("Unhealthy", "b"), event("Unhealthy", "a")],
            f"2 devices of {POOL} are Unhealthy: a, b: broken",
        ),
        (
            [event("Unhealthy", "b", why="no /dev/b"), event("Unhealthy", "a", why="")],
            f"2 devices of {POOL} are Unhealthy: a; b: no /dev/b",
        ),
        ([event("Healthy", why="")], f"device a of {POOL} is Healthy again"),
        (
            [Event(NOW, "worker", "died", POOL, why="killed by SIGKILL")],
            f"the worker of {POOL} ended and is started again: killed by SIGKILL",
        ),
        (
            [Event(NOW, "reload", "refused", why="line 1:\n bad")],
            "the configuration was refused, the former one stays active: line 1: bad",
        ),
    ],
)
def test_texts(events: list[Event], text: str) -> None:
    (group,) = groups_of(*events)
    assert event_note(group, for_pod=False) == text


texts = st.text(max_size=400)


@given(st.lists(st.builds(event, st.just("Unhealthy"), texts, why=texts), min_size=1, max_size=40))
def test_a_text_is_one_line_of_limited_size(events: list[Event]) -> None:
    for group in groups_of(*events):
        for for_pod in (False, True):
            text = event_note(group, for_pod=for_pod)
            assert 0 < len(text.encode()) <= MAX_NOTE_BYTES
            assert text.isprintable()


def test_a_pod_has_its_own_devices_only() -> None:
    groups = groups_of(event("Unhealthy", "a"), event("Unhealthy", "b"))
    state = add_groups(AgentState(), groups, {(POOL, "b"): (POD, POD)}, "n1")
    node, pod = bodies(state)
    assert node["note"].startswith("2 devices of")
    assert pod["note"] == f"device b of {POOL} that this pod has is Unhealthy: broken"
    assert pod["metadata"]["namespace"] == "ml"
    assert pod["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "train-0",
        "namespace": "ml",
        "uid": "u-1",
    }


def test_a_repetition_counts_in_its_series_until_this_has_ended() -> None:
    state = AgentState()
    for at in (0.0, SERIES_S, 2 * SERIES_S, 3 * SERIES_S + 1):
        later = NOW + at
        state = add_groups(state, groups_of(event("Unhealthy", at=later), now=later), {}, "n1")
    assert [(one.count, one.last_at - NOW) for one in state.outbox] == [
        (1, 0.0),
        (3, 2 * SERIES_S),
        (1, 3 * SERIES_S + 1),
    ]
    first, third, other = state.outbox
    assert first.name == third.name != other.name
    assert third.series_patch == {
        "series": {"count": 3, "lastObservedTime": "2027-01-15T09:00:00.000000Z"}
    }
    assert third.full_body == {**third.body, **third.series_patch}


def test_a_series_ends_where_the_clock_is_set_back() -> None:
    state = AgentState()
    for at in (86_400.0, 0.0):
        state = add_groups(state, groups_of(event("Unhealthy", at=NOW + at)), {}, "n1")
    assert [(one.count, one.last_at - NOW) for one in state.outbox] == [(1, 86_400.0), (1, 0.0)]


def test_other_words_of_a_refused_configuration_are_another_event() -> None:
    state = AgentState()
    for why in ("one", "two", "one"):
        groups = groups_of(Event(NOW, "reload", "refused", why=why))
        state = add_groups(state, groups, {}, "n1")
    assert [one.count for one in state.outbox] == [1, 1, 2]


@given(st.lists(st.tuples(st.sampled_from(["Unhealthy", "Healthy"]), st.integers(0, 400))))
def test_everything_that_is_kept_is_bounded_and_survives_a_restart(
    given_events: list[tuple[str, int]],
) -> None:
    state = AgentState()
    for number, (what, device) in enumerate(given_events):
        one = event(what, str(device), NOW + number)
        found, history = find_occurrences([one], state.history, NOW + number)
        state = msgspec.structs.replace(state, history=history)
        state = add_groups(state, group_occurrences(found), {(POOL, str(device)): (POD,)}, "n1")
        assert len(state.outbox) <= MAX_OUTBOX
        assert len(state.series) <= MAX_SERIES
    assert msgspec.json.decode(msgspec.json.encode(state), type=AgentState) == state


def test_the_oldest_of_too_many_is_dropped_and_counted() -> None:
    state = AgentState()
    for number in range(MAX_OUTBOX + 2):
        state = add_groups(state, groups_of(event("Unhealthy", str(number))), {}, "n1")
    assert (len(state.outbox), state.dropped) == (MAX_OUTBOX, 2)
    assert "device 2 of" in bodies(state)[0]["note"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (201, "done"),
        (409, "retry"),
        (404, "drop"),
        (422, "drop"),
        (403, "later"),
        (401, "retry"),
        (429, "retry"),
        (500, "retry"),
        (0, "retry"),
    ],
)
def test_the_outcome_of_a_call(status: int, outcome: str) -> None:
    assert call_outcome(status) == outcome


@pytest.mark.parametrize(
    ("outcome", "rest", "dropped"),
    [
        (Outcome.DONE, [1], 0),
        (Outcome.DROP, [1], 1),
        (Outcome.LATER, [1, 0], 0),
        (Outcome.RETRY, [0, 1], 0),
    ],
)
def test_the_outbox_after_a_call(outcome: Outcome, rest: list[int], dropped: int) -> None:
    state = add_groups(
        AgentState(), (*groups_of(event("Unhealthy")), *groups_of(event("Healthy"))), {}, "n1"
    )
    first = state.outbox[0] if state.outbox else None
    assert first is not None
    after = after_call(state, first, outcome)
    assert after.outbox == tuple(state.outbox[one] for one in rest)
    assert after.dropped == dropped


def test_a_burst_is_sent_at_once_and_the_rest_slowly() -> None:
    budget, now = CallBudget(BURST, INTERVAL_S), 100.0
    for _ in range(int(BURST)):
        assert budget.next_delay(now) == 0
        budget = budget.after_call(now)
    assert budget.next_delay(now) == pytest.approx(INTERVAL_S)
    assert budget.next_delay(now + INTERVAL_S) == pytest.approx(0)


def test_every_reason_has_a_row_in_the_reference() -> None:
    page = (REPOSITORY / "docs/reference/events.md").read_text()
    rows = {
        cells[1].strip(" `"): (cells[2].strip(), cells[3].strip(" `"))
        for cells in (line.split("|") for line in page.splitlines() if line.startswith("| `"))
    }
    assert rows == {str(one): (one.kind, one.action) for one in EventReason}


def test_an_unused_occurrence_has_no_text() -> None:
    occurrence = Occurrence(NOW, EventReason.FOREIGN_EXPORTER, text="another driver exports a")
    (group,) = group_occurrences([occurrence])
    assert event_note(group, for_pod=False) == "another driver exports a"


def test_the_condition_is_true_since_the_first_unhealthy_device() -> None:
    well = next_condition("Bad", (), 4, None, NOW)
    one = next_condition("Bad", ("ATOM a",), 4, well, NOW + 1)
    two = next_condition("Bad", ("ATOM a", "ATOM b"), 4, one, NOW + 2)
    assert [(now.is_true, now.since - NOW) for now in (well, one, two)] == [
        (False, 0),
        (True, 1),
        (True, 1),
    ]
    assert two.message == "2 of 4 devices are Unhealthy: ATOM a, ATOM b"
    assert condition_patch(two, NOW + 3)["status"] == {
        "conditions": [
            {
                "type": "Bad",
                "status": "True",
                "reason": "DevicesUnhealthy",
                "message": two.message,
                "lastHeartbeatTime": "2027-01-15T08:00:03Z",
                "lastTransitionTime": "2027-01-15T08:00:01Z",
            }
        ]
    }
    assert next_condition("Other", ("ATOM a",), 4, two, NOW + 9).since == NOW + 9
    many = [str(number) for number in range(100)]
    assert next_condition("Bad", many, 100, None, NOW).message.endswith(" and 88 more")


def test_the_condition_is_written_often_at_first() -> None:
    assert [heartbeat_s(age) for age in (0.0, 299.0, 300.0)] == [30.0, 30.0, 300.0]

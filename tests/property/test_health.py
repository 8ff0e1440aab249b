"""Any timeline of evidence: how fast a device falls and rises, how often, and where it ends."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.health import HealthPolicy, Probation
from rbln_worker.core.health.health_record import (
    SEEN_HEALTHY,
    HealthRecord,
    HealthState,
    Timestamp,
    make_verdict,
)
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Observation, Unknown
from rbln_worker.core.health.state_machine import (
    MAX_SUSPICIONS,
    Due,
    probation_s,
    step,
)

EVIDENCE: tuple[Observation, ...] = (
    GOOD,
    Bad("npu-status", "FAULT"),
    Bad("sysfs", "unplugged"),
    Doubt("link", "down"),
    Doubt("node", "missing"),
    Unknown("files", "silent"),
)
SECONDS = st.one_of(
    st.floats(0, 0.1), st.floats(0, 6), st.floats(0, 400), st.sampled_from([0.0, 0.03, 0.05, 30.0])
)
TIMELINES = st.lists(st.tuples(SECONDS, st.sampled_from(EVIDENCE)), max_size=60)
POLICIES = st.builds(
    HealthPolicy,
    suspect_s=st.sampled_from([0.0, 0.03, 1.0]),
    unknown_hold_s=st.sampled_from([0.0, 1.0, 30.0]),
    probation=st.sampled_from([Probation(), Probation(0, 0, 0, 0), Probation(0.1, 1, 4, 20)]),
)


class Seen(NamedTuple):
    at: float
    event: Observation | Due
    before: HealthRecord
    record: HealthRecord

    @property
    def healthy(self) -> bool:
        return self.record.state in SEEN_HEALTHY


def live(
    timeline: Sequence[tuple[float, Observation]],
    policy: HealthPolicy,
    record: HealthRecord | None = None,
    now: float = 100.0,
) -> list[Seen]:
    """All that happens, with a timer that is never late, until the device is at rest."""
    record, story = record or HealthRecord(), []

    def tell(event: Observation | Due) -> None:
        nonlocal record
        assert record is not None
        before = record
        record = step(record, event, Timestamp(now, now + 1e9), policy)
        story.append(Seen(now, event, before, record))

    for wait, event in [*timeline, (1e6, None)]:
        until = now + wait
        while (deadline := record.deadline) is not None and deadline <= until:
            now = max(now, deadline)
            tell(Due())
        now = until
        if event is not None:
            tell(event)
    return story


@given(TIMELINES, POLICIES)
def test_evidence_that_stays_decides(
    timeline: list[tuple[float, Observation]], policy: HealthPolicy
) -> None:
    story = live(timeline, policy)
    if story:
        last = timeline[-1][1]
        assert story[-1].healthy is (last == GOOD)
        assert story[-1].record.deadline is None  # a device at rest needs no timer
        assert story[-1].record.state in {HealthState.HEALTHY, HealthState.UNHEALTHY}


@given(TIMELINES, POLICIES)
def test_the_same_story_ends_the_same(
    timeline: list[tuple[float, Observation]], policy: HealthPolicy
) -> None:
    assert live(timeline, policy) == live(timeline, policy)


@given(TIMELINES, POLICIES)
def test_equal_evidence_changes_nothing(
    timeline: list[tuple[float, Observation]], policy: HealthPolicy
) -> None:
    twice = [(wait, event) for wait, event in timeline for wait in (wait, 0.0)]
    once, doubled = live(timeline, policy), live(twice, policy)
    assert [seen.record for seen in once][-1:] == [seen.record for seen in doubled][-1:]
    for seen in doubled:
        if seen.event == seen.before.observation:
            assert seen.record is seen.before


@given(TIMELINES, POLICIES)
def test_nobody_falls_faster_than_the_window_of_what_speaks_against_him(
    timeline: list[tuple[float, Observation]], policy: HealthPolicy
) -> None:
    """Where nothing sure made it fall, there was nothing good of it for so long."""
    story = live(timeline, policy)
    good_until = doubtful_since = 0.0
    suspicions = 0
    for seen in story:
        if seen.event == GOOD or (isinstance(seen.event, Due) and seen.record.observation == GOOD):
            good_until = seen.at
        if (
            seen.record.state is HealthState.SUSPECT
            and seen.before.state is not HealthState.SUSPECT
        ):
            doubtful_since = seen.at
            suspicions += 1
        if seen.before.state in SEEN_HEALTHY and not seen.healthy:
            match seen.event:
                case Due() if seen.before.state is HealthState.SUSPECT:
                    assert seen.at - doubtful_since >= policy.suspect_s * 0.999
                case Due():
                    assert seen.at - good_until >= policy.unknown_hold_s * 0.999
                case Doubt():
                    assert suspicions >= MAX_SUSPICIONS - 1 or policy.suspect_s == 0
                case event:
                    assert isinstance(event, Bad)
            suspicions = 0


@given(TIMELINES, POLICIES)
def test_nobody_rises_before_his_probation_is_over(
    timeline: list[tuple[float, Observation]], policy: HealthPolicy
) -> None:
    story = live(timeline, policy)
    began, was_healthy = 0.0, False
    for seen in story:
        if (
            seen.record.state is HealthState.PROBATION
            and seen.before.state is not HealthState.PROBATION
        ):
            began = seen.at
        if seen.healthy and seen.before.state not in SEEN_HEALTHY and was_healthy:
            watched = probation_s(policy.probation, seen.before.failures)
            assert watched == 0 or seen.at - began >= watched * 0.999
            assert seen.record.observation == GOOD
        was_healthy = was_healthy or seen.healthy


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0, 0.2), st.floats(0, 12), st.just(0.0500001)),
            st.sampled_from(EVIDENCE),
        ),
        max_size=200,
    ),
)
def test_the_changes_that_a_kubelet_sees_are_bounded(
    timeline: list[tuple[float, Observation]],
) -> None:
    """One rise, two changes for each probation that fits into the time, and one more fall."""
    policy = HealthPolicy()
    story = [seen for seen in live(timeline, policy) if seen.at < 700]
    shown = [False, *(seen.healthy for seen in story)]
    changes = sum(a != b for a, b in pairwise(shown))
    rise = next((seen.at for seen in story if seen.healthy), 0.0)
    seconds = story[-1].at - rise if story else 0.0
    recoveries, spent = 0, 0.0
    while (spent := spent + probation_s(policy.probation, recoveries + 1)) <= seconds * 1.001:
        recoveries += 1
    assert changes <= 2 * recoveries + 2


def test_the_worst_flapping() -> None:
    """The bound is reached: bad for no time, good for just as long as it takes."""
    policy, record, now, falls = HealthPolicy(), HealthRecord(), 0.0, []
    bad = EVIDENCE[1]
    while now < 600:
        record = step(record, GOOD, Timestamp(now, now), policy)
        if (deadline := record.deadline) is not None:
            now = deadline
            record = step(record, Due(), Timestamp(now, now), policy)
        assert make_verdict(record).healthy
        record = step(record, bad, Timestamp(now, now), policy)
        falls.append(now)
    assert len([at for at in falls if at < 60]) == 6
    assert len([at for at in falls if at < 600]) == 9

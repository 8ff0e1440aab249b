"""Bursts of events are acted on soon, seldom enough, and never without a last act."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.discovery.rate_limit import (
    MAX_TOKENS,
    SETTLE_S,
    TOKENS_PER_CPU_S,
    TOKENS_PER_S,
    TokenBucket,
)

WAITS = st.lists(st.floats(0.0, 0.5), max_size=200)
COSTS = st.floats(0.0, 0.3)


def played(waits: list[float], cost_s: float = 0.0) -> tuple[list[float], list[float]]:
    """When events came, and when somebody acted who always acts in time."""
    pace, now = TokenBucket(), 0.0
    events, acts = [], []
    for wait in [*waits, 1000.0]:
        now += wait
        while pace.next_act_at <= now:
            acts.append(pace.next_act_at)
            pace = pace.act_started(pace.next_act_at, cost_s=cost_s)
        if wait != 1000.0:
            events.append(now)
            pace = pace.event_seen(now)
    return events, acts


@given(WAITS, COSTS)
def test_every_event_is_followed_by_an_act(waits: list[float], cost_s: float) -> None:
    events, acts = played(waits, cost_s)
    assert all(any(act > event for act in acts) for event in events)


@given(WAITS, COSTS)
def test_no_act_without_an_event_since_the_one_before(waits: list[float], cost_s: float) -> None:
    events, acts = played(waits, cost_s)
    for before, act in zip([-1.0, *acts], acts, strict=False):
        assert any(before <= event < act for event in events)


@given(WAITS)
def test_acts_are_bounded(waits: list[float]) -> None:
    events, acts = played(waits)
    if events:
        assert len(acts) <= MAX_TOKENS + TOKENS_PER_S * (acts[-1] - events[0]) + 1


@given(st.lists(st.floats(0.0, 0.02), min_size=1, max_size=20), st.floats(0.01, 0.3))
def test_a_storm_does_not_cost_more_than_a_share_of_a_core(
    waits: list[float], cost_s: float
) -> None:
    events, acts = played(waits * 100, cost_s)
    price = 1 + TOKENS_PER_CPU_S * cost_s
    assert len(acts) <= (2 * MAX_TOKENS + TOKENS_PER_S * (acts[-1] - events[0])) / price + 2


@given(st.floats(0.0, 1e6))
def test_after_a_calm_an_act_follows_at_once(now: float) -> None:
    pace = TokenBucket().event_seen(now)
    assert pace.next_act_at == now + SETTLE_S
    assert pace.event_seen(now + SETTLE_S / 2).next_act_at == pace.next_act_at

"""The wait before a worker's next life grows, has an end, and varies."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.workers.backoff import (
    FIRST_BACKOFF_S,
    JITTER,
    MAX_BACKOFF_S,
    RESET_AFTER_S,
    backoff_s,
    consecutive_failures,
)


def test_at_once_then_doubled_to_an_end() -> None:
    assert [backoff_s(deaths, 0.5) for deaths in range(1, 10)] == [
        *(0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
        *(MAX_BACKOFF_S, MAX_BACKOFF_S),
    ]
    assert backoff_s(0, 0.5) == 0.0


@given(st.integers(2, 10**9), st.floats(0, 1, exclude_max=True))
def test_jitter_is_a_share_to_either_side(deaths: int, chance: float) -> None:
    delay, middle = backoff_s(deaths, chance), backoff_s(deaths, 0.5)
    assert FIRST_BACKOFF_S <= middle <= MAX_BACKOFF_S
    assert middle * (1 - JITTER) <= delay <= middle * (1 + JITTER)


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_it_never_shrinks(deaths: int, chance: float) -> None:
    assert backoff_s(deaths, chance) <= backoff_s(deaths + 1, chance)


def test_a_long_life_clears_the_account() -> None:
    assert consecutive_failures(7, RESET_AFTER_S - 0.1) == 8
    assert consecutive_failures(7, RESET_AFTER_S) == 1
    assert consecutive_failures(0, 0.0) == 1

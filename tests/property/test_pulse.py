"""Moments that processes share."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.core.aligned_timer import next_moment

times = st.floats(0, 1e8)
intervals = st.sampled_from([0.5, 2.0, 10.0])


@given(times, intervals)
def test_the_next_one_is_neither_now_nor_long_after(now: float, every: float) -> None:
    moment = next_moment(now, every)
    assert moment % every == 0
    assert 0.2 * every < moment - now < 1.3 * every


@given(times, intervals, st.floats(-1e-6, 1e-6))
def test_whoever_wakes_at_one_sleeps_until_the_next(now: float, every: float, off: float) -> None:
    first = next_moment(now, every)
    assert next_moment(first + off, every) == first + every

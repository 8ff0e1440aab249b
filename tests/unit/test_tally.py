"""What a worker counts, and what its next life goes on with."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.counters import (
    BOUNDS_S,
    Calls,
    Histogram,
    WorkerCounters,
    carried_over,
    counters_differ,
    with_observation,
)
from rbln_worker.contract.messages import encode_message, to_supervisor
from rbln_worker.core.counters import Counters

TIMES = st.lists(st.floats(0, 100), max_size=30)


def test_calls_by_code_and_time() -> None:
    tally = Counters()
    tally.count_call("Allocate", "OK", 0.0001)  # a bound belongs to its bucket
    tally.count_call("Allocate", "OK", 0.00011)
    tally.count_call("Allocate", "INVALID_ARGUMENT", 99.0)
    figures = tally.worker_counters()
    assert figures.calls["Allocate"].codes == {"OK": 2, "INVALID_ARGUMENT": 1}
    took = figures.calls["Allocate"].took
    assert (took.counts[0], took.counts[1], took.counts[-1], took.total_count) == (1, 1, 1, 3)
    assert figures.calls["GetPreferredAllocation"] == Calls()


def test_the_next_life_goes_on_but_for_what_was_of_the_moment() -> None:
    first = Counters()
    first.count_call("Allocate", "OK", 0.001)
    first.count_registration(0.02)
    first.count_check(0.0002)
    first.streams, first.opened, first.messages, first.allocated = 1, 1, 4, 2
    first.hung = first.hanging = 1
    first.refusals = 5
    first.greedy_preferences, first.failed_preferences = 7, 8
    before = first.worker_counters(failed_writes=2)
    second = Counters(before)
    assert second.worker_counters() == carried_over(before)
    assert (second.worker_counters().streams, second.worker_counters().hanging) == (0, 0)
    second.count_call("Allocate", "OK", 0.001)
    second.count_registration(0.02)
    after = second.worker_counters(failed_writes=1)
    assert after.calls["Allocate"].codes == {"OK": 2}
    assert (after.registrations, after.to_register.total_count, after.failed_writes) == (2, 2, 3)
    assert (after.opened, after.messages, after.allocated, after.refusals) == (1, 4, 2, 5)
    assert (after.greedy_preferences, after.failed_preferences) == (7, 8)


def test_figures_are_values_that_later_calls_do_not_change() -> None:
    tally = Counters()
    before = tally.worker_counters()
    tally.count_call("Allocate", "OK", 1.0)
    tally.count_check(1.0)
    assert before == Counters().worker_counters() != tally.worker_counters()


def test_looks_alone_are_no_news() -> None:
    tally = Counters()
    before = tally.worker_counters()
    tally.count_check(0.1)
    assert not counters_differ(before, tally.worker_counters())
    assert counters_differ(None, before)
    tally.count_call("Allocate", "OK", 0.1)
    assert counters_differ(before, tally.worker_counters())


def test_figures_are_a_message() -> None:
    tally = Counters()
    tally.count_call("Allocate", "CANCELLED", 0.3)
    assert to_supervisor(encode_message(tally.worker_counters())) == tally.worker_counters()
    assert to_supervisor(encode_message(WorkerCounters())) == WorkerCounters()


@given(TIMES)
def test_both_ways_to_count_a_time_are_the_same(times: list[float]) -> None:
    tally, histogram = Counters(), Histogram()
    for seconds in times:
        tally.count_check(seconds)
        histogram = with_observation(histogram, seconds)
    assert tally.worker_counters().checks == histogram
    assert histogram.total_count == len(times)
    for index, bound in enumerate(BOUNDS_S):
        assert sum(histogram.counts[: index + 1]) == sum(one <= bound for one in times)

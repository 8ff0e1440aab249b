"""What a worker counts, and what its next life goes on with."""

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.counters import (
    BOUNDS_S,
    Calls,
    Histogram,
    WorkerCounters,
    carried_over,
    differs,
    observed,
)
from rbln_worker.contract.messages import encode, to_supervisor
from rbln_worker.core.counters import Counters

TIMES = st.lists(st.floats(0, 100), max_size=30)


def test_calls_by_code_and_time() -> None:
    tally = Counters()
    tally.call("Allocate", "OK", 0.0001)  # a bound belongs to its bucket
    tally.call("Allocate", "OK", 0.00011)
    tally.call("Allocate", "INVALID_ARGUMENT", 99.0)
    figures = tally.figures()
    assert figures.calls["Allocate"].codes == {"OK": 2, "INVALID_ARGUMENT": 1}
    took = figures.calls["Allocate"].took
    assert (took.counts[0], took.counts[1], took.counts[-1], took.count) == (1, 1, 1, 3)
    assert figures.calls["GetPreferredAllocation"] == Calls()


def test_the_next_life_goes_on_but_for_what_was_of_the_moment() -> None:
    first = Counters()
    first.call("Allocate", "OK", 0.001)
    first.registered(0.02)
    first.look(0.0002)
    first.streams, first.opened, first.messages, first.allocated = 1, 1, 4, 2
    first.hung = first.hanging = 1
    first.refusals = 5
    first.simple_preferences, first.failed_preferences = 7, 8
    before = first.figures(failed_writes=2)
    second = Counters(before)
    assert second.figures() == carried_over(before)
    assert (second.figures().streams, second.figures().hanging) == (0, 0)
    second.call("Allocate", "OK", 0.001)
    second.registered(0.02)
    after = second.figures(failed_writes=1)
    assert after.calls["Allocate"].codes == {"OK": 2}
    assert (after.registrations, after.to_register.count, after.failed_writes) == (2, 2, 3)
    assert (after.opened, after.messages, after.allocated, after.refusals) == (1, 4, 2, 5)
    assert (after.simple_preferences, after.failed_preferences) == (7, 8)


def test_figures_are_values_that_later_calls_do_not_change() -> None:
    tally = Counters()
    before = tally.figures()
    tally.call("Allocate", "OK", 1.0)
    tally.look(1.0)
    assert before == Counters().figures() != tally.figures()


def test_looks_alone_are_no_news() -> None:
    tally = Counters()
    before = tally.figures()
    tally.look(0.1)
    assert not differs(before, tally.figures())
    assert differs(None, before)
    tally.call("Allocate", "OK", 0.1)
    assert differs(before, tally.figures())


def test_figures_are_a_message() -> None:
    tally = Counters()
    tally.call("Allocate", "CANCELLED", 0.3)
    assert to_supervisor(encode(tally.figures())) == tally.figures()
    assert to_supervisor(encode(WorkerCounters())) == WorkerCounters()


@given(TIMES)
def test_both_ways_to_count_a_time_are_the_same(times: list[float]) -> None:
    tally, histogram = Counters(), Histogram()
    for seconds in times:
        tally.look(seconds)
        histogram = observed(histogram, seconds)
    assert tally.figures().looks == histogram
    assert histogram.count == len(times)
    for index, bound in enumerate(BOUNDS_S):
        assert sum(histogram.counts[: index + 1]) == sum(one <= bound for one in times)

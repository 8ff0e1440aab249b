"""What a worker counts, and what its next life goes on with."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.counters import (
    BOUNDS_S,
    WorkerCounters,
    carried_over,
)
from rbln_worker.contract.messages import encode_message, to_supervisor

TIMES = st.lists(st.floats(0, 100), max_size=30)


def test_calls_by_code_and_time() -> None:
    counters = WorkerCounters()
    counters.count_call("Allocate", "OK", 0.0001)  # a bound belongs to its bucket
    counters.count_call("Allocate", "OK", 0.00011)
    counters.count_call("Allocate", "INVALID_ARGUMENT", 99.0)
    assert counters.calls["Allocate"].codes == {"OK": 2, "INVALID_ARGUMENT": 1}
    took = counters.calls["Allocate"].took
    assert (took.counts[0], took.counts[1], took.counts[-1], sum(took.counts)) == (1, 1, 1, 3)


def test_the_next_life_continues_all_but_current_values() -> None:
    first = WorkerCounters(refusals=5, allocated=2, streams=1, hanging=1)
    first.count_call("Allocate", "OK", 0.001)
    first.count_registration(0.02)
    second = carried_over(first)
    assert second == msgspec.structs.replace(first, streams=0, hanging=0)
    second.count_call("Allocate", "OK", 0.001)
    second.count_registration(0.02)
    assert second.calls["Allocate"].codes == {"OK": 2}
    assert (second.registrations, sum(second.to_register.counts)) == (2, 2)
    assert first.registrations == 1, "the counters of the first life are its own"


def test_counters_are_a_message() -> None:
    counters = WorkerCounters()
    counters.count_call("Allocate", "CANCELLED", 0.3)
    assert to_supervisor(encode_message(counters)) == counters
    assert to_supervisor(encode_message(WorkerCounters())) == WorkerCounters()


@given(TIMES)
def test_a_time_is_in_the_first_bucket_that_has_it(times: list[float]) -> None:
    counters = WorkerCounters()
    for seconds in times:
        counters.count_check(seconds)
    histogram = counters.checks
    assert sum(histogram.counts) == len(times)
    for index, bound in enumerate(BOUNDS_S):
        assert sum(histogram.counts[: index + 1]) == sum(one <= bound for one in times)

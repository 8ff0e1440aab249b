"""A replaced worker: never ended before its successor is listed, always ended afterwards."""

from itertools import accumulate

import hypothesis.strategies as st
from hypothesis import given

from rbln_supervisor.core.workers.lifecycle import LEAVE_TIMEOUT_S, Act, State
from rbln_supervisor.core.workers.predecessor import LINGER_S, Predecessor, Stage, step_predecessor
from rbln_worker.contract.messages import Phase

SUCCESSORS = st.sampled_from([State.STARTING, State.UP, State.DOWN, State.KILLED])
MOMENTS = st.lists(
    st.tuples(SUCCESSORS, st.sampled_from([None, *Phase]), st.floats(0, 2)), max_size=40
)


def is_listed(successor: State, phase: Phase | None) -> bool:
    return successor is State.UP and phase in {Phase.REGISTERED, Phase.WAITING}


@given(MOMENTS)
def test_it_is_asked_to_leave_once_its_successor_was_listed_for_a_while(
    moments: list[tuple[State, Phase | None, float]],
) -> None:
    predecessor, since = Predecessor(), None
    times = accumulate(passed_s for _, _, passed_s in moments)
    for (successor, phase, _), now in zip(moments, times, strict=True):
        predecessor, act = step_predecessor(predecessor, successor, phase, now)
        if not is_listed(successor, phase):
            since = None
        elif since is None:
            since = now
        if act is Act.DRAIN_PREDECESSOR:
            assert since is not None
            assert now >= since + LINGER_S
            return
        assert act is None
        assert predecessor.stage is Stage.SERVING
        assert since is None or now < since + LINGER_S


@given(st.sampled_from([State.NONE, State.LEAVING]), st.sampled_from([None, *Phase]))
def test_it_leaves_with_its_pool(successor: State, phase: Phase | None) -> None:
    predecessor, act = step_predecessor(Predecessor(), successor, phase, 5.0)
    assert act is Act.DRAIN_PREDECESSOR
    assert predecessor.deadline == 5.0 + LEAVE_TIMEOUT_S


@given(SUCCESSORS, st.sampled_from([None, *Phase]))
def test_one_that_does_not_leave_is_killed_once(successor: State, phase: Phase | None) -> None:
    leaving = Predecessor(Stage.LEAVING, 10.0)
    assert step_predecessor(leaving, successor, phase, 9.9) == (leaving, None)
    killed, act = step_predecessor(leaving, successor, phase, 10.0)
    assert act is Act.KILL_PREDECESSOR
    assert step_predecessor(killed, successor, phase, 99.0) == (killed, None)
    assert killed.deadline is None

"""The life of a worker: a whole table, and no story in which two live at once."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.lifecycle import (
    BEAT_WITHIN_S,
    HELLO_WITHIN_S,
    LEAVE_WITHIN_S,
    TABLE,
    Act,
    Child,
    Died,
    Event,
    Heard,
    MetStranger,
    Overdue,
    State,
    Unwanted,
    Wanted,
    step,
)

EVENTS: tuple[Event, ...] = (
    Wanted(),
    Unwanted(),
    Heard(),
    MetStranger(),
    Died(0.5),
    Overdue(),
)
LIVING = {State.STARTING, State.UP, State.LEAVING, State.STRANGER, State.KILLED}


def test_every_cell_is_written_down() -> None:
    assert set(TABLE) == set(product(State, map(type, EVENTS)))
    assert len(EVENTS) == len({type(event) for event in EVENTS}) == 6


@pytest.mark.parametrize(("state", "event"), list(product(State, EVENTS)))
def test_no_cell_fails(state: State, event: Event) -> None:
    child, acts = step(Child(state=state, wanted=True, deadline=1.0), event, 2.0)
    assert child.state in State
    assert len(acts) <= 1


def play(*events: Event, child: Child | None = None, now: float = 100.0) -> Child:
    child = child or Child()
    for event in events:
        child, _ = step(child, event, now)
    return child


def test_a_wanted_pool_gets_a_worker_that_has_to_say_hello() -> None:
    child, acts = step(Child(), Wanted(), 100.0)
    assert acts == (Act.SPAWN,)
    assert (child.state, child.deadline) == (State.STARTING, 100.0 + HELLO_WITHIN_S)
    child, acts = step(child, Overdue(), 120.0)
    assert (child.state, acts, child.deadline) == (State.KILLED, (Act.KILL,), None)


def test_every_word_is_a_beat() -> None:
    child = play(Wanted(), Heard())
    assert (child.state, child.deadline) == (State.UP, 100.0 + BEAT_WITHIN_S)
    child, acts = step(child, Heard(), 103.0)
    assert (child.state, child.deadline, acts) == (State.UP, 103.0 + BEAT_WITHIN_S, ())
    assert step(child, Overdue(), 110.0)[1] == (Act.KILL,)


def test_the_first_death_costs_no_time_and_further_ones_do() -> None:
    child = play(Wanted(), Heard(), Died(0.5))
    assert (child.state, child.restarts, child.deaths) == (State.DOWN, 1, 1)
    assert child.deadline == 100.0
    child, acts = step(child, Overdue(), 100.0)
    assert (child.state, acts) == (State.STARTING, (Act.SPAWN,))
    child = play(Died(0.5), child=child)
    assert (child.restarts, child.deaths, child.deadline) == (2, 2, 100.5)
    child = play(Overdue(), Heard(), child=child, now=200.0)
    child, _ = step(child, Died(0.5), 300.0)  # a life of 100 s clears the account
    assert (child.restarts, child.deaths, child.deadline) == (3, 1, 300.0)


def test_an_unwanted_pools_worker_is_asked_and_then_killed() -> None:
    up = play(Wanted(), Heard())
    child, acts = step(up, Unwanted(), 100.0)
    assert (child.state, acts, child.deadline) == (
        State.LEAVING,
        (Act.DRAIN,),
        100.0 + LEAVE_WITHIN_S,
    )
    assert step(child, Died(0.5), 101.0)[0] == msgspec.structs.replace(
        child, state=State.NONE, deadline=None
    )
    child, acts = step(child, Overdue(), 102.0)
    assert (child.state, acts) == (State.KILLED, (Act.KILL,))
    assert play(Died(0.5), child=child).state is State.NONE


def test_a_pool_that_comes_back_while_its_worker_leaves_gets_another() -> None:
    child = play(Wanted(), Heard(), Unwanted(), Wanted())
    assert child.state is State.LEAVING
    child, acts = step(child, Died(0.5), 101.0)
    assert (child.state, acts, child.restarts) == (State.STARTING, (Act.SPAWN,), 0)


def test_a_stranger_leaves_first() -> None:
    child = play(Wanted())
    child, acts = step(child, MetStranger(), 100.0)
    assert (child.state, acts) == (State.STRANGER, (Act.DRAIN,))
    assert step(child, Overdue(), 110.0)[1] == (Act.KILL,)
    child, acts = step(child, Died(0.5), 101.0)
    assert (child.state, acts, child.restarts) == (State.STARTING, (Act.SPAWN,), 0)


def test_a_dead_worker_of_a_pool_that_nobody_wants_is_forgotten() -> None:
    child = play(Wanted(), Heard(), Died(0.5), Unwanted())
    assert (child.state, child.deadline, child.wanted) == (State.NONE, None, False)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["wanted", "unwanted", "heard", "died", "time", "stranger"]),
        st.floats(0, 30),
    ),
    max_size=60,
)


@given(MOVES)
def test_any_story(story: list[tuple[str, float]]) -> None:
    """One life at most; asked or killed only while it lives; whatever waits has a deadline."""
    child, now, alive = Child(), 0.0, False
    wanted = False

    def tell(event: Event) -> tuple[Act, ...]:
        nonlocal child, alive
        child, acts = step(child, event, now)
        for act in acts:
            assert alive is (act is not Act.SPAWN)
            alive = True
        assert alive is (child.state in LIVING)
        assert (child.deadline is None) is (child.state in {State.NONE, State.KILLED})
        return acts

    for move, seconds in story:
        now += seconds
        acts: tuple[Act, ...] = ()
        match move:
            case "wanted" | "unwanted":
                wanted = move == "wanted"
                acts = tell(Wanted() if wanted else Unwanted())
            case "heard":
                acts = tell(Heard())
            case "died" if alive:
                alive = False
                acts = tell(Died(0.25))
            case "time" | "stranger" if child.deadline is not None:
                now = max(now, child.deadline)
                acts = tell(Overdue())
        if acts == (Act.SPAWN,) and move == "stranger":
            tell(MetStranger())

    # Whatever came before: a pool that is wanted gets its worker, and one that is not gets none.
    for _ in range(4):
        if alive and child.state not in {State.UP, State.STARTING}:
            alive = False
            tell(Died(0.25))
        elif child.deadline is not None and child.state is State.DOWN:
            now = max(now, child.deadline)
            tell(Overdue())
    assert (child.state in {State.UP, State.STARTING}) is wanted
    assert wanted or child.state is State.NONE

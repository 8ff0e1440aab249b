"""The life of a worker: a whole table."""

from itertools import product
from typing import get_args

import msgspec
import pytest

from rbln_supervisor.core.workers.lifecycle import (
    HEARTBEAT_TIMEOUT_S,
    HELLO_TIMEOUT_S,
    LEAVE_TIMEOUT_S,
    TABLE,
    WITHDRAW_TIMEOUT_S,
    Act,
    Child,
    State,
    step,
)
from rbln_supervisor.core.workers.worker_events import (
    DeadlinePassed,
    Event,
    Exited,
    ExportEnded,
    Incompatible,
    MessageReceived,
    Needed,
    NotNeeded,
    OrphanFound,
    StateReceived,
)

EVENTS: tuple[Event, ...] = (
    Needed(),
    NotNeeded(),
    ExportEnded(),
    MessageReceived(),
    OrphanFound(),
    Incompatible(),
    StateReceived(),
    Exited(0.5),
    DeadlinePassed(),
)


def test_every_event_has_a_rule_and_any_other_cell_changes_nothing() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert {event for _, event in TABLE} == set(get_args(Event))
    for state, event in product(State, EVENTS):
        if (state, type(event)) not in TABLE:
            child = Child(state=state, wanted=True, deadline=1.0)
            assert step(child, event, 2.0) == (child, ())


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
    child, acts = step(Child(), Needed(), 100.0)
    assert acts == (Act.SPAWN,)
    assert (child.state, child.deadline) == (State.STARTING, 100.0 + HELLO_TIMEOUT_S)
    child, acts = step(child, DeadlinePassed(), 120.0)
    assert (child.state, acts, child.deadline) == (State.KILLED, (Act.KILL,), None)


def test_every_word_is_a_beat() -> None:
    child = play(Needed(), MessageReceived())
    assert (child.state, child.deadline) == (State.UP, 100.0 + HEARTBEAT_TIMEOUT_S)
    child, acts = step(child, MessageReceived(), 103.0)
    assert (child.state, child.deadline, acts) == (State.UP, 103.0 + HEARTBEAT_TIMEOUT_S, ())
    assert step(child, DeadlinePassed(), 110.0)[1] == (Act.KILL,)


def test_the_first_death_costs_no_time_and_further_ones_do() -> None:
    child = play(Needed(), MessageReceived(), Exited(0.5))
    assert (child.state, child.restarts, child.failures) == (State.DOWN, 1, 1)
    assert child.deadline == 100.0
    child, acts = step(child, DeadlinePassed(), 100.0)
    assert (child.state, acts) == (State.STARTING, (Act.SPAWN,))
    child = play(Exited(0.5), child=child)
    assert (child.restarts, child.failures, child.deadline) == (2, 2, 100.5)
    child = play(DeadlinePassed(), MessageReceived(), child=child, now=200.0)
    child, _ = step(child, Exited(0.5), 300.0)  # a life of 100 s clears the account
    assert (child.restarts, child.failures, child.deadline) == (3, 1, 300.0)


def test_an_unwanted_pools_worker_is_asked_and_then_killed() -> None:
    up = play(Needed(), MessageReceived())
    child, acts = step(up, NotNeeded(), 100.0)
    assert (child.state, acts, child.deadline) == (
        State.LEAVING,
        (Act.DRAIN,),
        100.0 + LEAVE_TIMEOUT_S,
    )
    assert step(child, Exited(0.5), 101.0)[0] == msgspec.structs.replace(
        child, state=State.NONE, deadline=None
    )
    child, acts = step(child, DeadlinePassed(), 102.0)
    assert (child.state, acts) == (State.KILLED, (Act.KILL,))
    assert play(Exited(0.5), child=child).state is State.NONE


def test_a_pool_that_comes_back_while_its_worker_leaves_gets_another() -> None:
    child = play(Needed(), MessageReceived(), NotNeeded(), Needed())
    assert child.state is State.LEAVING
    child, acts = step(child, Exited(0.5), 101.0)
    assert (child.state, acts, child.restarts) == (State.STARTING, (Act.SPAWN,), 0)


@pytest.mark.parametrize("before", [(), (Needed(),)], ids=["at the start", "at a spawn"])
def test_a_stranger_is_adopted_when_it_has_said_what_it_holds(before: tuple[Event, ...]) -> None:
    child, acts = step(play(*before), OrphanFound(), 100.0)
    assert (child.state, acts, child.wanted) == (State.ADOPTING, (), True)
    child, acts = step(child, MessageReceived(), 105.0)
    assert (child.state, acts, child.deadline) == (State.ADOPTING, (), 100.0 + HELLO_TIMEOUT_S)
    child, acts = step(child, StateReceived(), 106.0)
    assert (child.state, acts, child.deadline) == (State.UP, (), 106.0 + HEARTBEAT_TIMEOUT_S)
    assert child.restarts == 0


def test_a_stranger_that_is_silent_is_killed_and_followed_at_once() -> None:
    child, acts = step(play(OrphanFound(), MessageReceived()), DeadlinePassed(), 110.0)
    assert (child.state, acts) == (State.KILLED, (Act.KILL,))
    child, acts = step(play(Exited(0.5), child=child, now=110.1), DeadlinePassed(), 110.1)
    assert (child.state, acts) == (State.STARTING, (Act.SPAWN,))


def test_a_stranger_that_dies_is_followed_at_once() -> None:
    child = play(OrphanFound(), Exited(0.5))
    assert (child.state, child.deadline) == (State.DOWN, 100.0)


def test_an_unfit_stranger_serves_beside_its_successor() -> None:
    child, acts = step(play(OrphanFound()), Incompatible(), 100.0)
    assert (child.state, acts) == (State.STARTING, (Act.REPLACE,))
    child, acts = step(child, MessageReceived(), 101.0)
    assert (child.state, acts, child.restarts) == (State.UP, (), 0)


def test_a_stranger_of_a_pool_that_nobody_wants_leaves() -> None:
    child, acts = step(play(OrphanFound()), NotNeeded(), 100.0)
    assert (child.state, acts) == (State.LEAVING, (Act.DRAIN,))
    assert play(Exited(0.5), child=child).state is State.NONE


def test_a_dead_worker_of_a_pool_that_nobody_wants_is_forgotten() -> None:
    child = play(Needed(), MessageReceived(), Exited(0.5), NotNeeded())
    assert (child.state, child.deadline, child.wanted) == (State.NONE, None, False)


def test_a_dra_worker_has_time_to_withdraw_its_slices_before_it_is_drained() -> None:
    child, acts = step(play(Needed(), MessageReceived()), ExportEnded(), 100.0)
    assert (child.state, acts, child.wanted) == (State.WITHDRAWING, (), False)
    assert child.deadline == 100.0 + WITHDRAW_TIMEOUT_S
    child = play(MessageReceived(), Needed(), child=child)
    assert step(child, Exited(0.5), 101.0)[1] == (Act.SPAWN,)
    child, acts = step(child, DeadlinePassed(), 105.0)
    assert (child.state, acts, child.wanted) == (State.LEAVING, (Act.DRAIN,), True)


def test_slices_of_a_dead_worker_are_withdrawn_by_another_one() -> None:
    dead = play(Needed(), MessageReceived(), Exited(0.5))
    child, acts = step(dead, ExportEnded(), 100.0)
    assert (child.state, acts) == (State.WITHDRAWING, (Act.SPAWN,))
    assert play(Exited(0.5), child=child).state is State.NONE


def test_a_leaving_supervisor_does_not_wait_for_a_withdrawal() -> None:
    child = play(Needed(), MessageReceived(), ExportEnded())
    assert step(child, NotNeeded(), 101.0)[1] == (Act.DRAIN,)

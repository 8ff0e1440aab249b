"""Where a pool stands with the kubelet: each answer to each thing that can happen."""

import msgspec
import pytest

from rbln_worker.contract.messages import Phase
from rbln_worker.core.registration import (
    MAX_RETRY_S,
    MIN_RETRY_S,
    STREAM_GAP_S,
    YIELD_TIMEOUT_S,
    Action,
    Choice,
    RegistrationState,
    RegistrationStep,
    choose_way,
    handle_event,
    status_phase,
)
from rbln_worker.core.registration_events import (
    Accepted,
    DirsChecked,
    Event,
    NotOpened,
    Opened,
    Rejected,
    Streams,
    SupersededStream,
    TimerExpired,
    View,
)
from rbln_worker.core.registration_reasons import LISTED_TIMEOUT_S, Reason

THERE = View(kubelet=(1,), sock_folder=True, registry_folder=False, served=True)
WATCHED = msgspec.structs.replace(THERE, registry_folder=True)


def changed(view: View, **fields: object) -> View:
    return msgspec.structs.replace(view, **fields)


def play(*events: Event, choice: Choice = "auto", now: float = 100.0) -> RegistrationState:
    standing = RegistrationState(choice)
    for event in events:
        standing, _ = handle_event(standing, event, now)
    return standing


def listed(view: View = THERE) -> RegistrationState:
    choice: Choice = "plugin-watcher" if view.registry_folder else "auto"
    standing = play(DirsChecked(view), Opened(), Accepted(), Streams(1), choice=choice)
    assert standing.step is RegistrationStep.LISTED
    return standing


def test_serve_then_register_then_be_listed() -> None:
    standing, act = handle_event(RegistrationState("auto"), DirsChecked(THERE), 100.0)
    assert (standing.step, act, standing.way) == (
        RegistrationStep.OPENING,
        Action.OPEN,
        "kubelet-sock",
    )
    standing, act = handle_event(standing, Opened(), 100.0)
    assert (standing.step, act) == (RegistrationStep.CALLING, Action.REGISTER)
    standing, act = handle_event(standing, Accepted(), 100.0)
    assert (standing.step, act, standing.deadline) == (
        RegistrationStep.UNLISTED,
        None,
        100.0 + LISTED_TIMEOUT_S,
    )
    standing, act = handle_event(standing, Streams(1), 100.0)
    assert (standing.step, act, standing.deadline, standing.reason) == (
        RegistrationStep.LISTED,
        None,
        None,
        Reason.NONE,
    )


def test_the_watcher_finds_what_is_served() -> None:
    standing, act = handle_event(RegistrationState("plugin-watcher"), DirsChecked(WATCHED), 100.0)
    assert (standing.way, act) == ("plugin-watcher", Action.OPEN)
    standing, act = handle_event(standing, Opened(), 100.0)
    assert (standing.step, act) == (RegistrationStep.UNLISTED, None)
    assert handle_event(standing, Streams(1), 100.0)[0].step is RegistrationStep.LISTED


@pytest.mark.parametrize(
    ("choice", "view", "way"),
    [
        ("auto", THERE, "kubelet-sock"),
        ("auto", WATCHED, "kubelet-sock"),
        ("auto", changed(WATCHED, kubelet=None), "kubelet-sock"),
        ("auto", changed(WATCHED, sock_folder=False, kubelet=None), "plugin-watcher"),
        ("auto", changed(THERE, sock_folder=False, kubelet=None), "kubelet-sock"),
        ("kubelet-sock", WATCHED, "kubelet-sock"),
        ("plugin-watcher", THERE, "plugin-watcher"),
    ],
)
def test_the_way_is_as_asked_or_as_the_folders_are(choice: Choice, view: View, way: str) -> None:
    assert choose_way(choice, view) == way


@pytest.mark.parametrize(
    ("choice", "view", "reason"),
    [
        ("auto", changed(THERE, sock_folder=False, kubelet=None), Reason.NO_SOCKET_FOLDER),
        ("auto", changed(THERE, kubelet=None), Reason.NO_SOCKET),
        ("plugin-watcher", THERE, Reason.NO_REGISTRY_FOLDER),
    ],
)
def test_what_is_not_there_is_waited_for(choice: Choice, view: View, reason: Reason) -> None:
    standing, act = handle_event(RegistrationState(choice), DirsChecked(view), 100.0)
    assert (standing.step, act, standing.deadline) == (RegistrationStep.AWAY, None, None)
    assert standing.reason is reason
    assert status_phase(standing) is Phase.WAITING
    # Nothing of what was under way before changes that.
    for event in (
        Opened(),
        NotOpened("x"),
        Rejected("x", reached=True),
        Streams(1),
        TimerExpired(),
    ):
        after, act = handle_event(standing, event, 101.0)
        assert (after.step, act) == (RegistrationStep.AWAY, None)


def test_a_refusal_is_answered_with_a_fresh_socket_later_and_later() -> None:
    standing, waits = play(DirsChecked(THERE)), []
    for _ in range(12):
        standing, act = handle_event(standing, Opened(), 100.0)
        assert act is Action.REGISTER
        standing, act = handle_event(standing, Rejected("no", reached=True), 100.0)
        assert (standing.step, act, standing.detail) == (RegistrationStep.REFUSED, None, "no")
        assert status_phase(standing) is Phase.REGISTERING
        assert standing.deadline is not None
        waits.append(standing.deadline - 100.0)
        standing, act = handle_event(standing, TimerExpired(), 100.0)
        assert act is Action.OPEN
    assert waits[0] == pytest.approx(MIN_RETRY_S)
    assert waits == sorted(waits)
    assert waits[-1] == MAX_RETRY_S


def test_a_kubelet_that_did_not_hear_is_told_the_same_again() -> None:
    standing = play(DirsChecked(THERE), Opened(), Rejected("x", reached=False))
    assert (standing.reason, status_phase(standing)) == (Reason.NO_LISTENER, Phase.WAITING)
    again, act = handle_event(standing, TimerExpired(), 101.0)
    assert (again.step, act) == (RegistrationStep.CALLING, Action.REGISTER)
    # But another kubelet, or a socket that is gone, needs a fresh one.
    for view in (changed(THERE, kubelet=(2,)), changed(THERE, served=False)):
        assert handle_event(standing, DirsChecked(view), 101.0)[1] is Action.OPEN


@pytest.mark.parametrize(
    "before", [changed(THERE, kubelet=None), changed(THERE, sock_folder=False)]
)
def test_a_kubelet_that_has_come_is_waited_for_no_more(before: View) -> None:
    standing = play(DirsChecked(before), DirsChecked(THERE))
    assert (standing.reason, status_phase(standing)) == (Reason.NONE, Phase.REGISTERING)
    standing = play(DirsChecked(before), DirsChecked(THERE), Opened(), Accepted(), TimerExpired())
    assert standing.reason is Reason.NOT_LISTED
    assert status_phase(standing) is Phase.REGISTERING


def test_one_that_answers_at_last_is_waited_for_no_more() -> None:
    unheard = (DirsChecked(THERE), Opened(), Rejected("connection refused", reached=False))
    standing = play(*unheard, TimerExpired(), Accepted())
    assert (standing.reason, status_phase(standing)) == (Reason.NONE, Phase.REGISTERING)


def test_the_watchers_kubelet_has_come_and_does_not_ask() -> None:
    alone = (DirsChecked(changed(WATCHED, kubelet=None)), Opened(), TimerExpired())
    standing = play(*alone, choice="plugin-watcher")
    assert (standing.reason, status_phase(standing)) == (Reason.NO_SOCKET, Phase.WAITING)
    standing = play(*alone, DirsChecked(WATCHED), choice="plugin-watcher")
    assert (standing.reason, status_phase(standing)) == (Reason.NONE, Phase.REGISTERING)


def test_a_call_that_breaks_off_after_a_stream_was_heard() -> None:
    standing = play(
        DirsChecked(THERE), Opened(), Streams(1), Streams(0), Rejected("x", reached=False)
    )
    assert standing.step is RegistrationStep.REFUSED
    assert handle_event(standing, TimerExpired(), 101.0)[1] is Action.OPEN


def test_a_taken_registration_without_a_stream_is_made_again() -> None:
    standing, act = handle_event(
        play(DirsChecked(THERE), Opened(), Accepted()), TimerExpired(), 200.0
    )
    assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)
    assert standing.reason is Reason.NOT_LISTED


@pytest.mark.parametrize("view", [THERE, WATCHED], ids=["kubelet-sock", "plugin-watcher"])
def test_a_stream_that_ends_is_never_opened_again(view: View) -> None:
    standing, act = handle_event(listed(view), Streams(0), 100.0)
    assert (standing.step, act, standing.deadline) == (
        RegistrationStep.UNLISTED,
        None,
        100.0 + STREAM_GAP_S,
    )
    assert handle_event(standing, TimerExpired(), 101.0)[1] is Action.OPEN
    assert handle_event(listed(view), Streams(2), 100.0)[0].step is RegistrationStep.LISTED


def test_a_socket_of_ours_that_is_gone_is_made_anew() -> None:
    for view in (THERE, WATCHED):
        standing, act = handle_event(listed(view), DirsChecked(changed(view, served=False)), 100.0)
        assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)
        assert standing.reason is Reason.SOCKET_REMOVED


def test_another_kubelet_is_registered_with_at_once() -> None:
    standing, act = handle_event(listed(), DirsChecked(changed(THERE, kubelet=(2,))), 100.0)
    assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)
    # The watcher of another kubelet finds the socket that is there.
    standing, act = handle_event(
        listed(WATCHED), DirsChecked(changed(WATCHED, kubelet=(2,))), 100.0
    )
    assert (standing.step, act) == (RegistrationStep.LISTED, None)


def test_the_same_look_again_changes_nothing() -> None:
    for standing in (
        listed(),
        play(DirsChecked(THERE)),
        play(DirsChecked(THERE), Opened(), Accepted()),
    ):
        assert standing.view is not None
        assert handle_event(standing, DirsChecked(standing.view), 101.0) == (standing, None)


def test_a_late_word_about_a_pool_that_is_listed_means_nothing() -> None:
    for event in (Accepted(), Rejected("x", reached=True), Rejected("x", reached=False), Opened()):
        assert handle_event(listed(), event, 101.0) == (listed(), None)


def test_a_socket_that_cannot_be_opened_is_tried_again() -> None:
    standing = play(DirsChecked(THERE), NotOpened("no room"))
    assert (standing.step, standing.detail) == (RegistrationStep.REFUSED, "no room")
    assert handle_event(standing, TimerExpired(), 101.0)[1] is Action.OPEN


def test_before_the_first_look_nobody_is_waited_for() -> None:
    assert status_phase(RegistrationState("auto")) is Phase.REGISTERING
    assert status_phase(listed()) is Phase.REGISTERED


YOUNGER = changed(THERE, younger="a-2.sock")


def ended(view: View) -> RegistrationState:
    standing, _ = handle_event(listed(view), Streams(0), 200.0)
    standing, _ = handle_event(standing, DirsChecked(view), standing.deadline or 0.0)
    standing, _ = handle_event(standing, TimerExpired(), standing.deadline or 0.0)
    return standing


def test_a_stream_that_ended_for_a_younger_instance_is_left_to_it() -> None:
    standing = ended(YOUNGER)
    assert standing.step is RegistrationStep.YIELDED
    assert (standing.reason, standing.detail) == (Reason.YOUNGER_SERVES, "a-2.sock")
    assert status_phase(standing) is Phase.WAITING


def test_the_younger_instance_has_gone() -> None:
    standing, act = handle_event(ended(YOUNGER), DirsChecked(THERE), 201.0)
    assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)


def test_it_may_hang_so_that_nobody_waits_for_ever() -> None:
    standing = ended(YOUNGER)
    assert standing.deadline == pytest.approx(200.0 + STREAM_GAP_S + YIELD_TIMEOUT_S)
    standing, act = handle_event(standing, TimerExpired(), standing.deadline or 0.0)
    assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)


def test_a_kubelet_that_took_the_former_socket_last() -> None:
    standing, act = handle_event(listed(), SupersededStream(), 200.0)
    assert (standing.step, act) == (RegistrationStep.OPENING, Action.OPEN)
    assert standing.reason is Reason.FORMER_SOCKET


def test_a_stream_to_the_former_socket_before_the_fresh_one_is_listed() -> None:
    standing = play(DirsChecked(THERE), Opened(), Accepted())
    assert handle_event(standing, SupersededStream(), 200.0) == (standing, None)


def test_who_was_never_listed_does_not_yield() -> None:
    standing = play(DirsChecked(YOUNGER), Opened(), Accepted(), TimerExpired())
    assert standing.step is RegistrationStep.OPENING


def test_a_dra_driver_is_listed_again_by_the_next_kubelet() -> None:
    """No stream of it ends with a kubelet; the next one finds the same socket."""
    standing = RegistrationState("plugin-watcher", has_streams=False)
    for event in (DirsChecked(WATCHED), Opened(), Streams(1)):
        standing, _ = handle_event(standing, event, 100.0)
    assert standing.step is RegistrationStep.LISTED
    standing, _ = handle_event(standing, DirsChecked(changed(WATCHED, kubelet=None)), 101.0)
    standing, act = handle_event(standing, TimerExpired(), 101.0 + LISTED_TIMEOUT_S)
    assert (act, standing.reason, status_phase(standing)) == (None, Reason.NO_SOCKET, Phase.WAITING)
    standing, act = handle_event(standing, DirsChecked(changed(WATCHED, kubelet=(2,))), 120.0)
    assert (act, standing.step) == (None, RegistrationStep.UNLISTED)
    standing, act = handle_event(standing, Streams(1), 121.0)
    assert (act, standing.step, standing.deadline) == (None, RegistrationStep.LISTED, None)


def test_a_dra_driver_that_the_next_kubelet_does_not_find_gets_a_fresh_socket() -> None:
    standing = RegistrationState("plugin-watcher", has_streams=False)
    for event in (DirsChecked(WATCHED), Opened(), Streams(1)):
        standing, _ = handle_event(standing, event, 100.0)
    standing, _ = handle_event(standing, DirsChecked(changed(WATCHED, kubelet=(2,))), 101.0)
    assert standing.deadline == 101.0 + LISTED_TIMEOUT_S
    _, act = handle_event(standing, TimerExpired(), 101.0 + LISTED_TIMEOUT_S)
    assert act is Action.OPEN

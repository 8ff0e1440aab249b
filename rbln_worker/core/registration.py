"""The state machine of a pool's registration with the kubelet.

One endpoint is registered once: to register again, a worker first serves a fresh socket, because
kubelets differ in what a second Register with a known socket does (nothing, or an error, or a new
client that the end of the previous one then evicts). There are two ways to the kubelet:

* ``kubelet-sock``: the plugin calls Register on the kubelet's socket; the kubelet connects to the
  plugin's socket. A kubelet deletes every socket in the folder when it starts.
* ``plugin-watcher``: the kubelet finds the plugin's socket in plugins_registry and calls GetInfo on
  it, in the next iteration of a loop of 1 s; a kubelet that starts finds it again automatically.

In both, the kubelet never opens a ListAndWatch stream again that has ended.

Before Kubernetes 1.37 the removal of a socket from plugins_registry ends the resource's *latest*
endpoint, whatever its socket (DeRegisterPlugin uses the name alone). So a socket has to be removed
before the next one is created: then the kubelet sees both in one iteration, and in this order.
Since 1.37 (kubernetes PR 135437) endpoints are kept by resource and socket path.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from rbln_worker.contract.messages import Phase
from rbln_worker.core import registration_events as events
from rbln_worker.core.registration_events import View
from rbln_worker.core.registration_reasons import ABSENT, LISTED_TIMEOUT_S, Reason, absent_reason

Choice = Literal["auto", "kubelet-sock", "plugin-watcher"]
Way = Literal["kubelet-sock", "plugin-watcher"]

STREAM_GAP_S: Final = 0.05
"""Delay after the end of a stream. By then a kubelet that restarts has removed the socket, or a
dead one does not answer."""
YIELD_TIMEOUT_S: Final = 30.0
"""Delay while a younger instance serves, whose stream a registration would end. This instance waits
for the end of the other one, but not for ever: it may hang."""
MIN_RETRY_S: Final = 0.01
MAX_RETRY_S: Final = 5.0
MAX_WATCHER_RETRY_S: Final = 60.0


class RegistrationStep(StrEnum):
    """Steps of the registration."""

    AWAY = "away"
    """There is nothing to register with."""
    OPENING = "opening"
    """A fresh endpoint is being opened."""
    CALLING = "calling"
    """Register is being called."""
    REFUSED = "refused"
    """The last attempt failed; the next is scheduled."""
    UNLISTED = "unlisted"
    """Registered, or waiting for the plugin watcher; no stream yet."""
    LISTED = "listed"
    """The kubelet has a stream open."""
    YIELDED = "yielded"
    """The kubelet ended the stream for a younger instance's (a rolling update), which serves."""


class RegistrationState(msgspec.Struct, frozen=True):
    """The whole state of a registration."""

    choice: Choice
    has_streams: bool = True
    """False for a DRA driver: no stream ends with the kubelet."""
    step: RegistrationStep = RegistrationStep.AWAY
    way: Way | None = None
    view: View | None = None
    failures: int = 0
    """Consecutive failures."""
    deadline: float | None = None
    """The deadline if no event arrives (monotonic seconds)."""
    retry: bool = False
    """True if the next action is the same Register, on an endpoint that was never accepted."""
    discovered: bool = False
    """True if the plugin watcher found the current endpoint."""
    reason: Reason = Reason.NONE
    """The reason why the kubelet does not list the pool."""
    detail: str = ""
    """The error or the socket that belongs to the reason."""


class Action(StrEnum):
    """Actions of the caller."""

    OPEN = "open"
    """Open a fresh endpoint for the chosen way. The previous one serves until this one is listed;
    its file is removed from plugins_registry first."""
    REGISTER = "register"
    """Call Register with the current endpoint."""


def handle_event(
    state: RegistrationState, event: events.Event, now: float
) -> tuple[RegistrationState, Action | None]:
    """Return the state after an event, and the action."""
    after = state
    match event:
        case events.DirsChecked(view=view):
            return _dirs_checked(state, view, now)
        case events.Opened() if (
            state.step is RegistrationStep.OPENING
        ):  # otherwise the kubelet has gone
            return _endpoint_opened(state, now)
        case events.TimerExpired():
            return _timer_expired(state, now)
        # Two registrations ran at once. The earlier endpoint is about to end; if it is the
        # kubelet's latest, its end would leave the pool without one. A third registration decides.
        case events.SupersededStream() if state.step is RegistrationStep.LISTED:
            return _open_endpoint(_because(state, Reason.FORMER_SOCKET))
        # The kubelet gets the options once for each endpoint: one in step OPENING has the new ones.
        case events.Renewed() if state.step in {
            RegistrationStep.CALLING,
            RegistrationStep.UNLISTED,
            RegistrationStep.LISTED,
        }:
            return _open_endpoint(_because(state, Reason.NONE))
        case events.NotOpened(why=why):
            after = _attempt_failed(state, (Reason.FAILED, why), now, again=False)
        # A kubelet that opened the stream has accepted the endpoint, whatever Register returned.
        case events.Accepted() if state.step is not RegistrationStep.LISTED:
            after = _enter_step(
                _with_kubelet(state), RegistrationStep.UNLISTED, due=now + LISTED_TIMEOUT_S
            )
        case events.Rejected(why=why, reached=reached) if state.step is not RegistrationStep.LISTED:
            # A call that broke off after a stream was opened did reach the kubelet.
            unheard = not reached and state.step is RegistrationStep.CALLING
            failure = (Reason.FAILED, why) if reached else (Reason.NO_LISTENER, "")
            after = _attempt_failed(state, failure, now, again=unheard)
        case events.Discovered():
            after = msgspec.structs.replace(state, discovered=True)
        case events.Streams(count=count):
            after = _streams_changed(state, count, now)
        case _:  # it comes too late, or changes nothing
            pass
    return after, None


def status_phase(state: RegistrationState) -> Phase:
    """Return the registration state for the status."""
    if state.step is RegistrationStep.LISTED:
        return Phase.REGISTERED
    has_view = state.view is not None
    nobody_there = (
        state.step in {RegistrationStep.AWAY, RegistrationStep.YIELDED} or state.reason in ABSENT
    )
    return Phase.WAITING if has_view and nobody_there else Phase.REGISTERING


def _dirs_checked(
    state: RegistrationState, view: View, now: float
) -> tuple[RegistrationState, Action | None]:
    before = state.view
    state = msgspec.structs.replace(state, view=view)
    way = choose_way(state.choice, view)
    absent = absent_reason(view, by_watcher=way == "plugin-watcher")
    if absent is not Reason.NONE:
        away = msgspec.structs.replace(
            state, step=RegistrationStep.AWAY, way=way, deadline=None, failures=0
        )
        return _because(away, absent), None
    another_kubelet = before is not None and before.kubelet != view.kubelet
    if state.step is RegistrationStep.AWAY or way != state.way:
        changed = msgspec.structs.replace(state, way=way, failures=0)
        return _open_endpoint(_because(changed, Reason.NONE))
    if state.step is RegistrationStep.OPENING:
        return state, None
    # A fresh endpoint follows anyway.
    if state.step is RegistrationStep.REFUSED and not state.retry:
        due = now if another_kubelet else state.deadline
        return msgspec.structs.replace(state, deadline=due), None
    if not view.served or (state.step is RegistrationStep.YIELDED and not view.younger):
        why = Reason.YOUNGER_ENDED if view.served else Reason.SOCKET_REMOVED
        return _open_endpoint(_because(state, why))
    if another_kubelet and not state.has_streams and state.step is RegistrationStep.LISTED:
        state = _enter_step(state, RegistrationStep.UNLISTED, due=now + LISTED_TIMEOUT_S)
    if another_kubelet and view.kubelet is not None:
        if way == "kubelet-sock":
            return _open_endpoint(msgspec.structs.replace(state, failures=0))
        if state.step is not RegistrationStep.LISTED:
            state = _with_kubelet(state)
            return msgspec.structs.replace(state, failures=0, deadline=now + LISTED_TIMEOUT_S), None
    return state, None


def needs_answer_check(state: RegistrationState) -> bool:
    """Return True if the state depends on a process that listens on the kubelet's socket."""
    return state.way == "plugin-watcher" and state.step is RegistrationStep.UNLISTED


def needs_newer_check(state: RegistrationState) -> bool:
    """Return True if the state depends on another instance that serves the resource."""
    return state.step is RegistrationStep.YIELDED or state.reason is Reason.STREAM_ENDED


def choose_way(choice: Choice, view: View) -> Way:
    """Choose the way to register: the configured one, else kubelet.sock.

    The plugin watcher is used if there is no device-plugins folder. With the watcher of kubelets
    before 1.37 a resource has no devices for up to a second whenever a socket changes; with
    kubelet.sock for some milliseconds, or not at all.
    """
    if choice == "auto":
        by_watcher = view.registry_folder and not view.sock_folder
        return "plugin-watcher" if by_watcher else "kubelet-sock"
    return choice


def _streams_changed(state: RegistrationState, count: int, now: float) -> RegistrationState:
    if state.step in {RegistrationStep.AWAY, RegistrationStep.OPENING}:
        return state
    if count:
        listed = _enter_step(state, RegistrationStep.LISTED, due=None)
        return _because(msgspec.structs.replace(listed, failures=0), Reason.NONE)
    if state.step is not RegistrationStep.LISTED:
        return state
    ended = _enter_step(state, RegistrationStep.UNLISTED, due=now + STREAM_GAP_S)
    return _because(ended, Reason.STREAM_ENDED)


def _with_kubelet(state: RegistrationState) -> RegistrationState:
    """Drop a reason that means that there is no kubelet."""
    return _because(state, Reason.NONE) if state.reason in ABSENT else state


def _because(state: RegistrationState, reason: Reason, detail: str = "") -> RegistrationState:
    return msgspec.structs.replace(state, reason=reason, detail=detail)


def _endpoint_opened(
    state: RegistrationState, now: float
) -> tuple[RegistrationState, Action | None]:
    if state.way == "kubelet-sock":
        return _enter_step(state, RegistrationStep.CALLING, due=None), Action.REGISTER
    patience = min(MAX_WATCHER_RETRY_S, LISTED_TIMEOUT_S * 2.0**state.failures)
    return _enter_step(state, RegistrationStep.UNLISTED, due=now + patience), None


def _timer_expired(state: RegistrationState, now: float) -> tuple[RegistrationState, Action | None]:
    if state.step is RegistrationStep.REFUSED:
        if state.retry:
            return _enter_step(state, RegistrationStep.CALLING, due=None), Action.REGISTER
        return _open_endpoint(state)
    if state.step is RegistrationStep.YIELDED:
        return _open_endpoint(state)
    if state.step is not RegistrationStep.UNLISTED:
        return msgspec.structs.replace(state, deadline=None), None
    view = state.view
    if view and view.younger and state.reason is Reason.STREAM_ENDED:
        state = _because(state, Reason.YOUNGER_SERVES, view.younger)
        return _enter_step(state, RegistrationStep.YIELDED, due=now + YIELD_TIMEOUT_S), None
    if state.way == "plugin-watcher" and not (view and view.kubelet and view.answers):
        # No kubelet would find a fresh socket either; the next kubelet finds this one.
        reason = Reason.NO_LISTENER if view and view.kubelet else Reason.NO_SOCKET
        return _because(msgspec.structs.replace(state, deadline=None), reason), None
    if state.reason is Reason.NONE:
        unseen = state.way == "plugin-watcher" and not state.discovered
        state = _because(state, Reason.NOT_DISCOVERED if unseen else Reason.NOT_LISTED)
    return _open_endpoint(msgspec.structs.replace(state, failures=state.failures + 1))


def _open_endpoint(state: RegistrationState) -> tuple[RegistrationState, Action]:
    fresh = msgspec.structs.replace(state, discovered=False)
    return _enter_step(fresh, RegistrationStep.OPENING, due=None), Action.OPEN


def _enter_step(
    state: RegistrationState, step: RegistrationStep, *, due: float | None
) -> RegistrationState:
    return msgspec.structs.replace(state, step=step, deadline=due, retry=False)


def _attempt_failed(
    state: RegistrationState, failure: tuple[Reason, str], now: float, *, again: bool
) -> RegistrationState:
    if state.step is RegistrationStep.AWAY:
        return state
    wait = min(MAX_RETRY_S, MIN_RETRY_S * 2.0**state.failures)
    return msgspec.structs.replace(
        _because(state, *failure),
        step=RegistrationStep.REFUSED,
        failures=min(state.failures + 1, 30),
        deadline=now + wait,
        retry=again,
    )

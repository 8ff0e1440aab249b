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
from rbln_worker.core.registration_events import (
    Accepted,
    DirsChecked,
    Discovered,
    Event,
    NotOpened,
    Opened,
    Rejected,
    Renewed,
    Streams,
    SupersededStream,
    TimerExpired,
    View,
)

Choice = Literal["auto", "kubelet-sock", "plugin-watcher"]
Way = Literal["kubelet-sock", "plugin-watcher"]

LISTED_WITHIN_S: Final = 5.0
"""The kubelet opens its stream at once after a registration; after this time it never will."""
STREAM_GAP_S: Final = 0.05
"""Delay after the end of a stream. By then a kubelet that restarts has removed the socket, or a
dead one does not answer."""
YIELD_S: Final = 30.0
"""Delay while a younger instance serves, whose stream a registration would end. This instance waits
for the end of the other one, but not for ever: it may hang."""
RETRY_FIRST_S: Final = 0.01
RETRY_MOST_S: Final = 5.0
WATCHER_RETRY_MOST_S: Final = 60.0
NOBODY: Final = "nobody answers on kubelet.sock: waiting for the kubelet"
NO_SOCKET: Final = "no kubelet.sock: waiting for the kubelet"
NOT_DISCOVERED: Final = (
    f"the kubelet's plugin watcher did not ask for our socket within {LISTED_WITHIN_S:g} s: is "
    "this plugins_registry folder the one of its --root-dir?"
)
_ABSENT: Final = frozenset({NOBODY, NO_SOCKET})
_ENDED: Final = "the kubelet closed its stream"


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
    step: RegistrationStep = RegistrationStep.AWAY
    way: Way | None = None
    view: View | None = None
    failures: int = 0
    """Consecutive failures."""
    due: float | None = None
    """The deadline if no event arrives (monotonic seconds)."""
    again: bool = False
    """True if the next action is the same Register, on an endpoint that was never accepted."""
    discovered: bool = False
    """True if the plugin watcher found the current endpoint."""
    reason: str = ""
    """The reason why the kubelet does not list the pool."""


class Act(StrEnum):
    """Actions of the caller."""

    OPEN = "open"
    """Open a fresh endpoint for the chosen way. The previous one serves until this one is listed;
    its file is removed from plugins_registry first."""
    REGISTER = "register"
    """Call Register with the current endpoint."""


def advance(
    standing: RegistrationState, event: Event, now: float
) -> tuple[RegistrationState, Act | None]:
    """Return the state after an event, and the action."""
    after = standing
    match event:
        case DirsChecked(view=view):
            return _look(standing, view, now)
        case Opened() if (
            standing.step is RegistrationStep.OPENING
        ):  # otherwise the kubelet has gone
            return _opened(standing, now)
        case TimerExpired():
            return _overdue(standing, now)
        # Two registrations ran at once. The earlier endpoint is about to end; if it is the
        # kubelet's latest, its end would leave the pool without one. A third registration decides.
        case SupersededStream() if standing.step is RegistrationStep.LISTED:
            reason = "the kubelet took a former socket last"
            return _open(msgspec.structs.replace(standing, reason=reason))
        # The kubelet gets the options once for each endpoint: one in step OPENING has the new ones.
        case Renewed() if standing.step in {
            RegistrationStep.CALLING,
            RegistrationStep.UNLISTED,
            RegistrationStep.LISTED,
        }:
            return _open(msgspec.structs.replace(standing, reason=""))
        case NotOpened(why=why):
            after = _failed(standing, why, now, again=False)
        # A kubelet that opened the stream has accepted the endpoint, whatever Register returned.
        case Accepted() if standing.step is not RegistrationStep.LISTED:
            after = _to(
                _with_kubelet(standing), RegistrationStep.UNLISTED, due=now + LISTED_WITHIN_S
            )
        case Rejected(why=why, reached=reached) if standing.step is not RegistrationStep.LISTED:
            # A call that broke off after a stream was opened did reach the kubelet.
            unheard = not reached and standing.step is RegistrationStep.CALLING
            after = _failed(standing, why if reached else NOBODY, now, again=unheard)
        case Discovered():
            after = msgspec.structs.replace(standing, discovered=True)
        case Streams(count=count):
            after = _streams(standing, count, now)
        case Opened() | Accepted() | Rejected() | SupersededStream() | Renewed():
            pass
    return after, None


def phase(standing: RegistrationState) -> Phase:
    """Return the registration state for the status."""
    if standing.step is RegistrationStep.LISTED:
        return Phase.REGISTERED
    looked = standing.view is not None
    nobody_there = (
        standing.step in {RegistrationStep.AWAY, RegistrationStep.YIELDED}
        or standing.reason in _ABSENT
    )
    return Phase.WAITING if looked and nobody_there else Phase.REGISTERING


def _look(
    standing: RegistrationState, view: View, now: float
) -> tuple[RegistrationState, Act | None]:
    before = standing.view
    standing = msgspec.structs.replace(standing, view=view)
    way = choose(standing.choice, view)
    absent = _absent(way, view)
    if absent:
        return msgspec.structs.replace(
            standing, step=RegistrationStep.AWAY, way=way, due=None, failures=0, reason=absent
        ), None
    another_kubelet = before is not None and before.kubelet != view.kubelet
    if standing.step is RegistrationStep.AWAY or way != standing.way:
        return _open(msgspec.structs.replace(standing, way=way, failures=0, reason=""))
    if standing.step is RegistrationStep.OPENING:
        return standing, None
    if (
        standing.step is RegistrationStep.REFUSED and not standing.again
    ):  # a fresh endpoint follows anyway
        due = now if another_kubelet else standing.due
        return msgspec.structs.replace(standing, due=due), None
    if not view.served or (standing.step is RegistrationStep.YIELDED and not view.younger):
        why = "the younger instance has gone" if view.served else "its socket was removed"
        return _open(msgspec.structs.replace(standing, reason=why))
    if another_kubelet and view.kubelet is not None:
        if way == "kubelet-sock":
            return _open(msgspec.structs.replace(standing, failures=0))
        if standing.step is not RegistrationStep.LISTED:
            standing = _with_kubelet(standing)
            return msgspec.structs.replace(standing, failures=0, due=now + LISTED_WITHIN_S), None
    return standing, None


def asks_for_answers(standing: RegistrationState) -> bool:
    """Return True if the state depends on a process that listens on the kubelet's socket."""
    return standing.way == "plugin-watcher" and standing.step is RegistrationStep.UNLISTED


def asks_for_others(standing: RegistrationState) -> bool:
    """Return True if the state depends on another instance that serves the resource."""
    return standing.step is RegistrationStep.YIELDED or standing.reason == _ENDED


def choose(choice: Choice, view: View) -> Way:
    """Choose the way to register: the configured one, else kubelet.sock.

    The plugin watcher is used if there is no device-plugins folder. With the watcher of kubelets
    before 1.37 a resource has no devices for up to a second whenever a socket changes; with
    kubelet.sock for some milliseconds, or not at all.
    """
    if choice == "auto":
        by_watcher = view.registry_folder and not view.sock_folder
        return "plugin-watcher" if by_watcher else "kubelet-sock"
    return choice


def _absent(way: Way, view: View) -> str:
    if way == "plugin-watcher":
        return "" if view.registry_folder else "no plugins_registry folder: waiting for the kubelet"
    if not view.sock_folder:
        return "no device-plugins folder: waiting for the kubelet"
    return "" if view.kubelet else NO_SOCKET


def _streams(standing: RegistrationState, count: int, now: float) -> RegistrationState:
    if standing.step in {RegistrationStep.AWAY, RegistrationStep.OPENING}:
        return standing
    if count:
        return msgspec.structs.replace(
            standing, step=RegistrationStep.LISTED, due=None, failures=0, again=False, reason=""
        )
    if standing.step is not RegistrationStep.LISTED:
        return standing
    ended = _to(standing, RegistrationStep.UNLISTED, due=now + STREAM_GAP_S)
    return msgspec.structs.replace(ended, reason=_ENDED)


def _with_kubelet(standing: RegistrationState) -> RegistrationState:
    """Drop a reason that means that there is no kubelet."""
    reason = "" if standing.reason in _ABSENT else standing.reason
    return msgspec.structs.replace(standing, reason=reason)


def _opened(standing: RegistrationState, now: float) -> tuple[RegistrationState, Act | None]:
    if standing.way == "kubelet-sock":
        return _to(standing, RegistrationStep.CALLING, due=None), Act.REGISTER
    patience = min(WATCHER_RETRY_MOST_S, LISTED_WITHIN_S * 2.0**standing.failures)
    return _to(standing, RegistrationStep.UNLISTED, due=now + patience), None


def _overdue(standing: RegistrationState, now: float) -> tuple[RegistrationState, Act | None]:
    if standing.step is RegistrationStep.REFUSED:
        if standing.again:
            return _to(standing, RegistrationStep.CALLING, due=None), Act.REGISTER
        return _open(standing)
    if standing.step is RegistrationStep.YIELDED:
        return _open(standing)
    if standing.step is not RegistrationStep.UNLISTED:
        return msgspec.structs.replace(standing, due=None), None
    view = standing.view
    if view and view.younger and standing.reason == _ENDED:
        reason = f"a younger instance serves the resource at {view.younger}"
        standing = msgspec.structs.replace(standing, reason=reason)
        return _to(standing, RegistrationStep.YIELDED, due=now + YIELD_S), None
    if standing.way == "plugin-watcher" and not (view and view.kubelet and view.answers):
        # No kubelet would find a fresh socket either; the next kubelet finds this one.
        reason = NOBODY if view and view.kubelet else NO_SOCKET
        return msgspec.structs.replace(standing, due=None, reason=reason), None
    unlisted = f"no ListAndWatch within {LISTED_WITHIN_S:g} s of registering"
    if standing.way == "plugin-watcher" and not standing.discovered:
        unlisted = NOT_DISCOVERED
    reason = standing.reason or unlisted
    failures = standing.failures + 1
    return _open(msgspec.structs.replace(standing, failures=failures, reason=reason))


def _open(standing: RegistrationState) -> tuple[RegistrationState, Act]:
    fresh = msgspec.structs.replace(standing, discovered=False)
    return _to(fresh, RegistrationStep.OPENING, due=None), Act.OPEN


def _to(
    standing: RegistrationState, step: RegistrationStep, *, due: float | None
) -> RegistrationState:
    return msgspec.structs.replace(standing, step=step, due=due, again=False)


def _failed(standing: RegistrationState, why: str, now: float, *, again: bool) -> RegistrationState:
    if standing.step is RegistrationStep.AWAY:
        return standing
    wait = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0**standing.failures)
    return msgspec.structs.replace(
        standing,
        step=RegistrationStep.REFUSED,
        failures=min(standing.failures + 1, 30),
        due=now + wait,
        again=again,
        reason=why,
    )

"""Where a pool stands with the kubelet, and what to do about it next.

One endpoint is registered once: whoever has to register again serves a fresh socket first, because
kubelets differ in what a second Register with a known socket does (nothing, or an error, or a new
client that the old one's end then evicts). The two ways to be found:

* ``kubelet-sock``: the plugin calls Register on the kubelet's socket; the kubelet dials back. A
  kubelet that starts deletes every socket in the folder.
* ``plugin-watcher``: the kubelet finds the plugin's socket in plugins_registry and asks it, at the
  next turn of a loop of 1 s; a kubelet that starts finds it again by itself.

In both, a finished ListAndWatch stream is never opened again by the kubelet.

Before Kubernetes 1.37 a socket that leaves plugins_registry ends the resource's *latest* endpoint,
whichever socket that came by (DeRegisterPlugin goes by the name alone). So a socket has to
leave before the next one comes: then both are seen in one turn, and in this order. Since 1.37
(kubernetes PR 135437) endpoints are kept by resource and socket path.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from rbln_worker.contract.messages import Phase
from rbln_worker.core.registration_events import (
    Discovered,
    Event,
    Looked,
    NotOpened,
    NotTaken,
    Opened,
    Overdue,
    Overtaken,
    Renewed,
    Streams,
    Taken,
    View,
)

Choice = Literal["auto", "kubelet-sock", "plugin-watcher"]
Way = Literal["kubelet-sock", "plugin-watcher"]

LISTED_WITHIN_S: Final = 5.0
"""After a registration the kubelet opens its stream at once; later than this it never will."""
STREAM_GAP_S: Final = 0.05
"""After a stream's end a kubelet that restarts is about to remove our socket, or has died and
answers no more: look again then."""
YIELD_S: Final = 30.0
"""A kubelet that ended our stream for a younger instance's would end that one's for ours if we came
again. So we wait for its end, but not for ever: it may hang."""
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


class Step(StrEnum):
    """How far the registration has come."""

    AWAY = "away"
    """Nothing to register with."""
    OPENING = "opening"
    """A fresh endpoint is being opened."""
    CALLING = "calling"
    """Register is under way."""
    REFUSED = "refused"
    """The last attempt failed; the next is due."""
    UNLISTED = "unlisted"
    """Registered or waiting to be found; no stream yet."""
    LISTED = "listed"
    """The kubelet holds a stream."""
    YIELDED = "yielded"
    """The kubelet ended our stream for a younger instance's (a rolling update): it serves."""


class Standing(msgspec.Struct, frozen=True):
    """The whole state."""

    choice: Choice
    step: Step = Step.AWAY
    way: Way | None = None
    view: View | None = None
    failures: int = 0
    """In a row."""
    due: float | None = None
    """When to act if nothing happens (monotonic seconds)."""
    again: bool = False
    """What is due is the same Register again, on the endpoint that was never taken."""
    discovered: bool = False
    """The plugin watcher found the current endpoint."""
    reason: str = ""
    """Why the kubelet does not list the pool."""


class Act(StrEnum):
    """What the shell has to do."""

    OPEN = "open"
    """Open a fresh endpoint for the chosen way. The one before it serves until this one is listed;
    its file leaves plugins_registry first."""
    REGISTER = "register"
    """Call Register with the current endpoint."""


def advance(standing: Standing, event: Event, now: float) -> tuple[Standing, Act | None]:
    """The standing after an event, and what to do."""
    after = standing
    match event:
        case Looked(view=view):
            return _look(standing, view, now)
        case Opened() if standing.step is Step.OPENING:  # else the kubelet went away meanwhile
            return _opened(standing, now)
        case Overdue():
            return _overdue(standing, now)
        # Two registrations were on their way at once. The former is about to end, and where it is
        # the latest to the kubelet its end would leave the pool without one: a third decides it.
        case Overtaken() if standing.step is Step.LISTED:
            reason = "the kubelet took a former socket last"
            return _open(msgspec.structs.replace(standing, reason=reason))
        # Options are asked for once an endpoint: one that is opened now has the new ones.
        case Renewed() if standing.step in {Step.CALLING, Step.UNLISTED, Step.LISTED}:
            return _open(msgspec.structs.replace(standing, reason=""))
        case NotOpened(why=why):
            after = _failed(standing, why, now, again=False)
        # A kubelet that asked for the stream has taken us, whatever it said before or after.
        case Taken() if standing.step is not Step.LISTED:
            after = _to(_with_kubelet(standing), Step.UNLISTED, due=now + LISTED_WITHIN_S)
        case NotTaken(why=why, reached=reached) if standing.step is not Step.LISTED:
            # A call that broke off when there had been a stream was heard all the same.
            unheard = not reached and standing.step is Step.CALLING
            after = _failed(standing, why if reached else NOBODY, now, again=unheard)
        case Discovered():
            after = msgspec.structs.replace(standing, discovered=True)
        case Streams(count=count):
            after = _streams(standing, count, now)
        case Opened() | Taken() | NotTaken() | Overtaken() | Renewed():
            pass
    return after, None


def phase(standing: Standing) -> Phase:
    """Where the pool stands, in the words that people read."""
    if standing.step is Step.LISTED:
        return Phase.REGISTERED
    looked = standing.view is not None
    nobody_there = standing.step in {Step.AWAY, Step.YIELDED} or standing.reason in _ABSENT
    return Phase.WAITING if looked and nobody_there else Phase.REGISTERING


def _look(standing: Standing, view: View, now: float) -> tuple[Standing, Act | None]:
    before = standing.view
    standing = msgspec.structs.replace(standing, view=view)
    way = choose(standing.choice, view)
    absent = _absent(way, view)
    if absent:
        return msgspec.structs.replace(
            standing, step=Step.AWAY, way=way, due=None, failures=0, reason=absent
        ), None
    another_kubelet = before is not None and before.kubelet != view.kubelet
    if standing.step is Step.AWAY or way != standing.way:
        return _open(msgspec.structs.replace(standing, way=way, failures=0, reason=""))
    if standing.step is Step.OPENING:
        return standing, None
    if standing.step is Step.REFUSED and not standing.again:  # a fresh one is due anyway
        due = now if another_kubelet else standing.due
        return msgspec.structs.replace(standing, due=due), None
    if not view.served or (standing.step is Step.YIELDED and not view.younger):
        why = "the younger instance has gone" if view.served else "its socket was removed"
        return _open(msgspec.structs.replace(standing, reason=why))
    if another_kubelet and view.kubelet is not None:
        if way == "kubelet-sock":
            return _open(msgspec.structs.replace(standing, failures=0))
        if standing.step is not Step.LISTED:
            standing = _with_kubelet(standing)
            return msgspec.structs.replace(standing, failures=0, due=now + LISTED_WITHIN_S), None
    return standing, None


def asks_for_answers(standing: Standing) -> bool:
    """Whether it makes a difference that somebody listens on the kubelet's socket."""
    return standing.way == "plugin-watcher" and standing.step is Step.UNLISTED


def asks_for_others(standing: Standing) -> bool:
    """Whether it makes a difference that another instance serves the resource."""
    return standing.step is Step.YIELDED or standing.reason == _ENDED


def choose(choice: Choice, view: View) -> Way:
    """Choose the way to register: the configured one, else kubelet.sock.

    The plugin watcher is used where there is no device-plugins folder. By the watcher of kubelets
    before 1.37 a resource has no devices for up to a second whenever a socket changes; by
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


def _streams(standing: Standing, count: int, now: float) -> Standing:
    if standing.step in {Step.AWAY, Step.OPENING}:
        return standing
    if count:
        return msgspec.structs.replace(
            standing, step=Step.LISTED, due=None, failures=0, again=False, reason=""
        )
    if standing.step is not Step.LISTED:
        return standing
    ended = _to(standing, Step.UNLISTED, due=now + STREAM_GAP_S)
    return msgspec.structs.replace(ended, reason=_ENDED)


def _with_kubelet(standing: Standing) -> Standing:
    """Without a reason that says there is none."""
    reason = "" if standing.reason in _ABSENT else standing.reason
    return msgspec.structs.replace(standing, reason=reason)


def _opened(standing: Standing, now: float) -> tuple[Standing, Act | None]:
    if standing.way == "kubelet-sock":
        return _to(standing, Step.CALLING, due=None), Act.REGISTER
    patience = min(WATCHER_RETRY_MOST_S, LISTED_WITHIN_S * 2.0**standing.failures)
    return _to(standing, Step.UNLISTED, due=now + patience), None


def _overdue(standing: Standing, now: float) -> tuple[Standing, Act | None]:
    if standing.step is Step.REFUSED:
        if standing.again:
            return _to(standing, Step.CALLING, due=None), Act.REGISTER
        return _open(standing)
    if standing.step is Step.YIELDED:
        return _open(standing)
    if standing.step is not Step.UNLISTED:
        return msgspec.structs.replace(standing, due=None), None
    view = standing.view
    if view and view.younger and standing.reason == _ENDED:
        reason = f"a younger instance serves the resource at {view.younger}"
        standing = msgspec.structs.replace(standing, reason=reason)
        return _to(standing, Step.YIELDED, due=now + YIELD_S), None
    if standing.way == "plugin-watcher" and not (view and view.kubelet and view.answers):
        # Nobody is there to find a fresh socket either; the next kubelet finds this one.
        reason = NOBODY if view and view.kubelet else NO_SOCKET
        return msgspec.structs.replace(standing, due=None, reason=reason), None
    unlisted = f"no ListAndWatch within {LISTED_WITHIN_S:g} s of registering"
    if standing.way == "plugin-watcher" and not standing.discovered:
        unlisted = NOT_DISCOVERED
    reason = standing.reason or unlisted
    failures = standing.failures + 1
    return _open(msgspec.structs.replace(standing, failures=failures, reason=reason))


def _open(standing: Standing) -> tuple[Standing, Act]:
    fresh = msgspec.structs.replace(standing, discovered=False)
    return _to(fresh, Step.OPENING, due=None), Act.OPEN


def _to(standing: Standing, step: Step, *, due: float | None) -> Standing:
    return msgspec.structs.replace(standing, step=step, due=due, again=False)


def _failed(standing: Standing, why: str, now: float, *, again: bool) -> Standing:
    if standing.step is Step.AWAY:
        return standing
    wait = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0**standing.failures)
    return msgspec.structs.replace(
        standing,
        step=Step.REFUSED,
        failures=min(standing.failures + 1, 30),
        due=now + wait,
        again=again,
        reason=why,
    )

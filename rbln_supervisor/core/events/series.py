"""Series: one Event object for each subject and reason, whose count rises when it happens again.

Deliveries, the calls that make them known, wait in an outbox for the API server.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from rbln_supervisor.core.events.node_condition import Body, NodeCondition
from rbln_supervisor.core.events.notes import event_note
from rbln_supervisor.core.events.occurrences import FlapHistory, OccurrenceGroup
from rbln_worker.core.limit_bytes import limit_bytes

CONTROLLER: Final = "rebellions.ai/rbln-agent"
NODE_NAMESPACE: Final = "default"
"""Namespace of Events about nodes, which have none themselves."""
SERIES_S: Final = 1800.0
"""Time after which a series has ended: what happens again then is a new Event. A series that is so
far ahead has ended, too: the clock was set back."""
MAX_OUTBOX: Final = 256
"""Maximum number of Events that wait for the API server; then the oldest is dropped."""
MAX_SERIES: Final = 1024
BURST: Final = 30.0
"""Events of a node that are sent at once."""
INTERVAL_S: Final = 5.0
"""Seconds from one to the next after that: a fault of a whole cluster is no storm."""


class EventSubject(msgspec.Struct, frozen=True):
    """The object that an Event is about (ObjectReference)."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    def reference(self) -> Body:
        """Return it as an ObjectReference."""
        given = {"namespace": self.namespace, "uid": self.uid}
        return {
            "apiVersion": "v1",
            "kind": self.kind,
            "name": self.name,
            **{key: value for key, value in given.items() if value},
        }


class EventSeries(msgspec.Struct, frozen=True):
    """An Event object that was made for a series."""

    name: str
    count: int
    last_at: float
    """Seconds since the epoch."""


class Delivery(msgspec.Struct, frozen=True):
    """One call of the API server that is due."""

    key: str
    """The series."""
    namespace: str
    name: str
    body: Body
    """The whole Event."""
    count: int = 1
    """More than 1: the object exists, only its series changes."""
    last_at: float = 0.0

    @property
    def series_patch(self) -> Body:
        """Return the change of an object that exists."""
        return {"series": {"count": self.count, "lastObservedTime": micro_time(self.last_at)}}

    @property
    def full_body(self) -> Body:
        """Return the object that replaces an expired one."""
        return {**self.body, **self.series_patch} if self.count > 1 else self.body


class Outcome(StrEnum):
    """Result of one call."""

    DONE = "done"
    RETRY = "retry"
    """Nobody could take it: all wait."""
    LATER = "later"
    """This one was refused, others may not be: it waits behind them."""
    DROP = "drop"
    """It will never be taken."""


class AgentState(msgspec.Struct, frozen=True):
    """Everything that the agent keeps over its restarts, saved before anything is sent."""

    positions: Mapping[str, int] = {}
    """Bytes that were read of each file of events, by device and inode."""
    history: FlapHistory = FlapHistory()
    series: Mapping[str, EventSeries] = {}
    outbox: tuple[Delivery, ...] = ()
    problems: tuple[str, ...] = ()
    """Problems of the node that have their Events, by code and subject."""
    condition: NodeCondition | None = None
    """The condition that the Node has from an agent."""
    dropped: int = 0
    """Events that were given up: too many waited, or the API server refuses them for good."""


def add_groups(
    state: AgentState,
    groups: Iterable[OccurrenceGroup],
    holders: Mapping[tuple[str, str], tuple[EventSubject, ...]],
    node: str,
) -> AgentState:
    """Return the state with the Events of these groups due.

    Each group has an Event on the node; one of devices also has one on each pod that holds some of
    them, with these devices alone. ``holders``: pods by pool and device.
    """
    # The kubelet's way: the UID of a node in Events is its name, where kubectl describe finds it.
    on_node = EventSubject("Node", node, uid=node)
    for group in groups:
        state = _add_event(state, on_node, group, node)
        if group.reason.series_by == "device":
            for pod, part in _parts_by_pod(group, holders).items():
                state = _add_event(state, pod, part, node)
    return state


def _parts_by_pod(
    group: OccurrenceGroup, holders: Mapping[tuple[str, str], tuple[EventSubject, ...]]
) -> dict[EventSubject, OccurrenceGroup]:
    members: dict[EventSubject, list[int]] = {}
    for index, one in enumerate(group.members):
        for pod in dict.fromkeys(holders.get((one.pool, one.device), ())):
            members.setdefault(pod, []).append(index)
    return {
        pod: msgspec.structs.replace(group, members=tuple(group.members[one] for one in indexes))
        for pod, indexes in members.items()
    }


def _add_event(
    state: AgentState, subject: EventSubject, group: OccurrenceGroup, node: str
) -> AgentState:
    note = event_note(group, for_pod=subject.kind == "Pod")
    key = _series_key(subject, group, note)
    known = state.series.get(key)
    if known is not None and abs(group.last_at - known.last_at) > SERIES_S:
        known = None
    if known is None:
        digest = hashlib.sha256(f"{node} {key} {group.first_at}".encode()).hexdigest()[:16]
        known = EventSeries(f"{subject.name[:200]}.{digest}", 0, group.last_at)
    newer = EventSeries(known.name, known.count + 1, max(known.last_at, group.last_at))
    series = {**state.series}
    series.pop(key, None)
    series[key] = newer  # the last used is the last
    for old in [*series][: len(series) - MAX_SERIES]:
        del series[old]
    namespace = subject.namespace or NODE_NAMESPACE
    body = _event_body(subject, group, note, node, newer.name)
    delivery = Delivery(key, namespace, newer.name, body, newer.count, newer.last_at)
    outbox, dropped = add_delivery(state.outbox, delivery)
    return msgspec.structs.replace(
        state, series=series, outbox=outbox, dropped=state.dropped + dropped
    )


def add_delivery(outbox: tuple[Delivery, ...], new: Delivery) -> tuple[tuple[Delivery, ...], int]:
    """Return the outbox with a delivery, and the number of dropped ones.

    A rise of a count that still waits is replaced: the newer one has both. An object that was not
    made yet is made first, and counted afterwards.
    """
    rest = tuple(one for one in outbox if one.name != new.name or one.count == 1)
    queue = (*rest, new)
    excess = max(0, len(queue) - MAX_OUTBOX)
    return queue[excess:], excess


def call_outcome(status: int) -> Outcome:
    """Return the outcome of a call by its HTTP status; 0: the server was not reached.

    403 may be missing rights, a policy, or a namespace that ends.
    """
    if status // 100 == 2:
        return Outcome.DONE
    if status == 403:
        return Outcome.LATER
    if status in {400, 404, 405, 413, 422}:
        return Outcome.DROP
    return Outcome.RETRY


def after_call(state: AgentState, sent: Delivery, outcome: Outcome) -> AgentState:
    """Return the state after a call for the first delivery of the outbox."""
    rest = tuple(one for one in state.outbox if one is not sent)
    match outcome:
        case Outcome.DONE:
            return msgspec.structs.replace(state, outbox=rest)
        case Outcome.DROP:
            return msgspec.structs.replace(state, outbox=rest, dropped=state.dropped + 1)
        case Outcome.LATER:
            return msgspec.structs.replace(state, outbox=(*rest, sent))
        case Outcome.RETRY:
            return state


def _series_key(subject: EventSubject, group: OccurrenceGroup, note: str) -> str:
    detail = note if group.reason.series_by == "text" else group.source
    devices = " ".join(one.device for one in group.members)
    parts = (*(subject.kind, subject.namespace, subject.name), subject.uid)
    text = "\0".join((*parts, group.reason, group.pool, devices, detail))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]


def _event_body(
    subject: EventSubject, group: OccurrenceGroup, note: str, node: str, name: str
) -> Body:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": subject.namespace or NODE_NAMESPACE},
        "eventTime": micro_time(group.first_at),
        "reportingController": CONTROLLER,
        "reportingInstance": limit_bytes(node, 128),
        "action": group.reason.action,
        "reason": str(group.reason),
        "regarding": subject.reference(),
        "note": note,
        "type": group.reason.kind,
    }


def micro_time(at: float) -> str:
    """Return seconds since the epoch as a MicroTime of the API."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

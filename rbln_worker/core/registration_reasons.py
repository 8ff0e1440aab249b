"""Reasons why the kubelet does not list a pool, and their texts."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from rbln_worker.core.registration_events import View

LISTED_TIMEOUT_S: Final = 5.0
"""The kubelet opens its stream at once after a registration; after this time it never will."""


class Reason(Enum):
    """A reason; ``reason_text`` has the words."""

    NONE = auto()
    NO_LISTENER = auto()
    NO_SOCKET = auto()
    NO_SOCKET_FOLDER = auto()
    NO_REGISTRY_FOLDER = auto()
    FAILED = auto()
    """The detail is the error of the attempt."""
    NOT_LISTED = auto()
    NOT_DISCOVERED = auto()
    STREAM_ENDED = auto()
    SOCKET_REMOVED = auto()
    FORMER_SOCKET = auto()
    YOUNGER_SERVES = auto()
    """The detail is the socket of the younger instance."""
    YOUNGER_ENDED = auto()


ABSENT: Final = frozenset({Reason.NO_LISTENER, Reason.NO_SOCKET})
"""Reasons that mean that there is no kubelet."""

_TEXTS: Final[Mapping[Reason, str]] = {
    Reason.NONE: "",
    Reason.NO_LISTENER: "nobody answers on kubelet.sock: waiting for the kubelet",
    Reason.NO_SOCKET: "no kubelet.sock: waiting for the kubelet",
    Reason.NO_SOCKET_FOLDER: "no device-plugins folder: waiting for the kubelet",
    Reason.NO_REGISTRY_FOLDER: "no plugins_registry folder: waiting for the kubelet",
    Reason.FAILED: "",
    Reason.NOT_LISTED: f"no ListAndWatch within {LISTED_TIMEOUT_S:g} s of registering",
    Reason.NOT_DISCOVERED: "the kubelet's plugin watcher did not ask for our socket within "
    f"{LISTED_TIMEOUT_S:g} s: is this plugins_registry folder the one of its --root-dir?",
    Reason.STREAM_ENDED: "the kubelet closed its stream",
    Reason.SOCKET_REMOVED: "its socket was removed",
    Reason.FORMER_SOCKET: "the kubelet took a former socket last",
    Reason.YOUNGER_SERVES: "a younger instance serves the resource at ",
    Reason.YOUNGER_ENDED: "the younger instance has gone",
}


def reason_text(reason: Reason, detail: str = "") -> str:
    """Return the text of a reason for people; empty if there is none."""
    return f"{_TEXTS[reason]}{detail}"


def absent_reason(view: View, *, by_watcher: bool) -> Reason:
    """Return why there is nothing to register with; ``Reason.NONE`` if there is."""
    if by_watcher:
        return Reason.NONE if view.registry_folder else Reason.NO_REGISTRY_FOLDER
    if not view.sock_folder:
        return Reason.NO_SOCKET_FOLDER
    return Reason.NONE if view.kubelet else Reason.NO_SOCKET

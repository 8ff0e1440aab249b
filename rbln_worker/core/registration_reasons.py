"""Reasons why the kubelet does not list a pool, and their texts."""

from enum import Enum
from typing import Final

from rbln_worker.core.registration_events import View

LISTED_TIMEOUT_S: Final = 5.0
"""The kubelet opens its stream at once after a registration; after this time it never will."""


class Reason(Enum):
    """A reason, with its text for people; ``{}`` is the place of the detail."""

    NONE = ""
    NO_LISTENER = "nobody answers on kubelet.sock: waiting for the kubelet"
    NO_SOCKET = "no kubelet.sock: waiting for the kubelet"
    NO_SOCKET_FOLDER = "no device-plugins folder: waiting for the kubelet"
    NO_REGISTRY_FOLDER = "no plugins_registry folder: waiting for the kubelet"
    FAILED = "{}"
    """The detail is the error of the attempt."""
    NOT_LISTED = f"no ListAndWatch within {LISTED_TIMEOUT_S:g} s of registering"
    NOT_DISCOVERED = (
        "the kubelet's plugin watcher did not ask for our socket within "
        f"{LISTED_TIMEOUT_S:g} s: is this plugins_registry folder the one of its --root-dir?"
    )
    STREAM_ENDED = "the kubelet closed its stream"
    SOCKET_REMOVED = "its socket was removed"
    FORMER_SOCKET = "the kubelet took a former socket last"
    YOUNGER_SERVES = "a younger instance serves the resource at {}"
    """The detail is the socket of the younger instance."""
    YOUNGER_ENDED = "the younger instance has gone"


ABSENT: Final = frozenset({Reason.NO_LISTENER, Reason.NO_SOCKET})
"""Reasons that mean that there is no kubelet."""


def reason_text(reason: Reason, detail: str = "") -> str:
    """Return the text of a reason for people; empty if there is none."""
    return reason.value.format(detail)


def absent_reason(view: View, *, by_watcher: bool) -> Reason:
    """Return why there is nothing to register with; ``Reason.NONE`` if there is."""
    if by_watcher:
        return Reason.NONE if view.registry_folder else Reason.NO_REGISTRY_FOLDER
    if not view.sock_folder:
        return Reason.NO_SOCKET_FOLDER
    return Reason.NONE if view.kubelet else Reason.NO_SOCKET

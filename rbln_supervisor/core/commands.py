"""What rbln-ctl may ask over the control socket, and the answers (JSON, one frame each way)."""

from typing import Final

import msgspec

from rbln_supervisor.core.difference import Plan
from rbln_supervisor.core.events import Event, Query
from rbln_supervisor.core.explain import Explanation
from rbln_supervisor.core.measures import Measures
from rbln_supervisor.core.status import NodeStatus

CONTROL_SOCKET: Final = "control.sock"
"""Its name in the run directory."""

HIDDEN: Final = ".hidden"
"""The end of a socket's name, in the place of ``.sock``, while nobody may connect."""

REQUEST_BYTES_MOST: Final = 2 * 1024 * 1024
"""A longer request ends its sender's connection. A configuration has 1 MiB, in base64 4/3 of it."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """How is the node?"""


class Metrics(msgspec.Struct, frozen=True, tag="metrics"):
    """How is the node, and what was counted?"""


class Reload(msgspec.Struct, frozen=True, tag="reload", omit_defaults=True):
    """Read the configuration file again; all of it is right, or nothing changes."""

    force: bool = False
    """Also where it takes devices that pods have."""


class Rescan(msgspec.Struct, frozen=True, tag="rescan"):
    """Look for devices now."""


class Upgrade(msgspec.Struct, frozen=True, tag="upgrade"):
    """Become the program that is installed now, without a gap."""


class Explain(msgspec.Struct, frozen=True, tag="explain"):
    """Why is a device where it is?"""

    device: str
    """Its ID, or another name that it can be told by."""


class Events(msgspec.Struct, frozen=True, tag="events"):
    """What has happened?"""

    query: Query = Query()


class DryRun(msgspec.Struct, frozen=True, tag="dry-run"):
    """What would a reload of this configuration do?"""

    config: bytes
    """The file's."""
    prefix: str | None = None
    """Of pools that name none; None: the supervisor's own."""


Request = Status | Metrics | Reload | Rescan | Upgrade | Explain | Events | DryRun


class Node(msgspec.Struct, frozen=True, tag="node"):
    """The answer to Status."""

    status: NodeStatus


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """The answer to Metrics."""

    measures: Measures


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """What a reload changed: pool names, sorted. It is in force, and its new pools have started."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    """What it would have been refused for without force, one line each."""
    plan: Plan | None = None
    """What became of each pool, and which devices moved."""


class Rescanned(msgspec.Struct, frozen=True, tag="rescanned"):
    """What a rescan found: PCI functions that are candidates, and the pools that it changed."""

    functions: int
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Upgrading(msgspec.Struct, frozen=True, tag="upgrading"):
    """The installed program can be started; the supervisor becomes it after this answer."""


class Explained(msgspec.Struct, frozen=True, tag="explained"):
    """The answer to Explain."""

    explanation: Explanation


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """The answer to Events."""

    events: tuple[Event, ...]
    """As they were recorded, the newest last."""
    newest: int
    """The number of the newest that there is, whether it was asked for or not."""


class Planned(msgspec.Struct, frozen=True, tag="planned"):
    """The answer to DryRun."""

    plan: Plan | None
    """None where the configuration has errors."""
    errors: tuple[str, ...] = ()
    """What a reload would be refused for, one line each."""
    warnings: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    """What a reload would be refused for without force, one line each."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The request was refused or failed; nothing changed."""

    errors: tuple[str, ...]
    """One line each: what, where, what was expected."""


Reply = (
    Node | Measured | Reloaded | Rescanned | Upgrading | Explained | Happened | Planned | Refused
)

_REQUEST: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
_REPLY: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """A request or an answer as one frame."""
    return msgspec.json.encode(message)


def to_request(frame: bytes | memoryview) -> Request:
    """The request in a frame; msgspec.DecodeError where there is none."""
    try:
        return _REQUEST.decode(frame)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def to_reply(frame: bytes | memoryview) -> Reply:
    """The answer in a frame; msgspec.DecodeError where there is none."""
    try:
        return _REPLY.decode(frame)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error

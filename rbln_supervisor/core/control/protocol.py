"""The requests of rbln-ctl over the control socket, and the replies (JSON, one frame each way)."""

from typing import Final, TypeVar

import msgspec

from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.matching.plan import Plan
from rbln_supervisor.core.reporting.metrics import SupervisorMetrics
from rbln_supervisor.core.status import NodeStatus
from rbln_worker.contract.problem import Problem

CONTROL_SOCKET: Final = "control.sock"
"""File name of the socket in the run directory."""


MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a request; a longer one closes its sender's connection. A configuration of 1 MiB
takes 4/3 of it in base64."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Request for the status of the node."""


class Metrics(msgspec.Struct, frozen=True, tag="metrics"):
    """Request for the status and all counters."""


class Reload(msgspec.Struct, frozen=True, tag="reload", omit_defaults=True):
    """Request to read the configuration file again; any error in it means that nothing changes."""

    force: bool = False
    """True: also if it removes devices that pods use."""


class Rescan(msgspec.Struct, frozen=True, tag="rescan"):
    """Request for a discovery."""


class Upgrade(msgspec.Struct, frozen=True, tag="upgrade"):
    """Request to replace the supervisor by the installed program, without a gap."""


class Explain(msgspec.Struct, frozen=True, tag="explain"):
    """Request for the reasons why a device is in its pool, or in none."""

    device: str
    """Device ID, or another name of the device."""


class DryRun(msgspec.Struct, frozen=True, tag="dry-run"):
    """Request for the effect of a reload with this configuration."""

    config: bytes
    """Content of the file."""
    prefix: str | None = None
    """Prefix of pools without one; None: the supervisor's own."""


Request = Status | Metrics | Reload | Rescan | Upgrade | Explain | DryRun


class StatusReply(msgspec.Struct, frozen=True, tag="node"):
    """Reply to Status."""

    status: NodeStatus


class MetricsReply(msgspec.Struct, frozen=True, tag="measured"):
    """Reply to Metrics."""

    measures: SupervisorMetrics


class ReloadReply(msgspec.Struct, frozen=True, tag="reloaded"):
    """Reply to Reload. It is active, and new pools have started."""

    plan: Plan
    """The change of each pool, and the devices that moved."""
    warnings: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    """Reasons why it would have been refused without force, one line each."""


class RescanReply(msgspec.Struct, frozen=True, tag="rescanned"):
    """Reply to Rescan: number of PCI functions that are candidates, and changed pools."""

    functions: int
    changed: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class UpgradeReply(msgspec.Struct, frozen=True, tag="upgrading"):
    """Reply to Upgrade: the installed program can be started; the supervisor becomes it now."""


class ExplainReply(msgspec.Struct, frozen=True, tag="explained"):
    """Reply to Explain."""

    explanation: Explanation


class DryRunReply(msgspec.Struct, frozen=True, tag="planned"):
    """Reply to DryRun."""

    plan: Plan | None
    """None if the configuration has errors."""
    errors: tuple[str, ...] = ()
    """Reasons why a reload would be refused, one line each."""
    warnings: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    """Reasons why a reload would be refused without force, one line each."""


class ErrorReply(msgspec.Struct, frozen=True, tag="refused"):
    """Reply to a request that was refused or failed; nothing changed."""

    errors: tuple[str, ...]
    """One line each: problem, place, expected value."""


LEAVING: Final = ErrorReply(("the supervisor is stopping",))

Reply = (
    StatusReply
    | MetricsReply
    | ReloadReply
    | RescanReply
    | UpgradeReply
    | ExplainReply
    | DryRunReply
    | ErrorReply
)

_Message = TypeVar("_Message")

_REQUEST: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
_REPLY: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Encode a request or a reply as one frame."""
    return msgspec.json.encode(message)


def to_request(frame: bytes | memoryview) -> Request:
    """Decode a request. Raises msgspec.DecodeError."""
    return _decode(_REQUEST, frame)


def to_reply(frame: bytes | memoryview) -> Reply:
    """Decode a reply. Raises msgspec.DecodeError."""
    return _decode(_REPLY, frame)


def _decode(decoder: msgspec.json.Decoder[_Message], frame: bytes | memoryview) -> _Message:
    try:
        return decoder.decode(frame)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error

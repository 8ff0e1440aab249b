"""A client of the control socket: requests to a supervisor, and their replies, with deadlines."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

import msgspec
import zmq

from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl.command import CommandError, Exit

REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds: a supervisor replies within one loop iteration; one that needs longer hangs."""
DISCOVERY_TIMEOUT_S: Final = 25.0
"""Seconds for a request with a discovery: one may be running already, and each may take 10 s. Also
for one with a check of the installed program (20 s, rbln_supervisor/upgrade.py)."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Maximum size; a longer reply is never received. A status of 20,000 devices has 3 MiB."""

_CONNECT_ERRORS: Final[Mapping[type[Exception], tuple[str, str]]] = {
    FileNotFoundError: ("no socket", "start rbln-supervisor, or name its directory with --run-dir"),
    ConnectionRefusedError: ("no process listens at", "the supervisor has ended, start it again"),
    PermissionError: ("permission denied at", "run rbln-ctl as the supervisor's user"),
}
"""Problem and remedy."""

_Expected = TypeVar("_Expected", bound=protocol.Reply)


class UnreachableError(CommandError):
    """Error: no supervisor replies."""

    code = Exit.UNREACHABLE


class UnreadableAnswerError(CommandError):
    """Error: the reply can't be decoded, or belongs to another request."""


class RefusedError(CommandError):
    """Error: the supervisor refused the request."""


def request_reply(
    run_dir: Path,
    request: protocol.Request,
    expected: type[_Expected],
    *,
    timeout_s: float | None = None,
) -> _Expected:
    """Send a request, and return its reply of the expected type; see ``send_request``.

    Raises:
        UnreachableError: No process listens, or none replies in time.
        UnreadableAnswerError: The reply can't be decoded, or has another type.
        RefusedError: The supervisor refused.
    """
    reply = send_request(run_dir, request, timeout_s=timeout_s)
    if isinstance(reply, expected):
        return reply
    if isinstance(reply, protocol.ErrorReply):
        errors = reply.errors or ("refused without a reason: see the supervisor's log",)
        raise RefusedError(*errors, json=reply)
    raise UnreadableAnswerError(
        "the reply belongs to another request: use the rbln-ctl of the supervisor's version"
    )


def send_request(
    run_dir: Path, request: protocol.Request, *, timeout_s: float | None = None
) -> protocol.Reply:
    """Send a request to the supervisor of a run directory, and return its reply.

    Each request has its own connection: a late reply can't be taken for that to the next request.

    Args:
        run_dir: the run directory.
        request: the request.
        timeout_s: None for the time that this kind of request needs.

    Raises:
        UnreachableError: No process listens, or none replies in time.
        UnreadableAnswerError: The reply can't be decoded.
    """
    path = run_dir / protocol.CONTROL_SOCKET
    if timeout_s is None:
        timeout_s = _timeout_s(request)
    end = monotonic() + timeout_s
    _check_listener(path)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.immediate = True  # nothing is queued for a supervisor that isn't there
        dealer.maxmsgsize = MAX_ANSWER_BYTES
        dealer.connect(f"ipc://{path}")
        try:
            dealer.poll(_left_ms(end), zmq.POLLOUT)
            dealer.send(protocol.encode(request), zmq.NOBLOCK)
            dealer.poll(_left_ms(end))
            frames = dealer.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            raise UnreachableError(
                f"no answer from {path} within {timeout_s:g} s: "
                "the supervisor hangs or is overloaded: see its log"
            ) from None
    return _decode_reply(frames, path)


def _left_ms(end: float) -> int:
    return max(0, round(1000 * (end - monotonic())))


def _timeout_s(request: protocol.Request) -> float:
    match request:
        case protocol.Reload() | protocol.Rescan() | protocol.DryRun() | protocol.Upgrade():
            return DISCOVERY_TIMEOUT_S
        case protocol.Status() | protocol.Metrics() | protocol.Explain():
            return REQUEST_TIMEOUT_S


def _check_listener(path: Path) -> None:
    """Detect at once that no process listens: ZeroMQ would wait for one."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(0)
        try:
            knocking.connect(os.fspath(path))
        except BlockingIOError:
            pass  # a process listens, and is busy
        except (OSError, ValueError) as error:  # ValueError: a NUL, or too long a path
            other = f"{path} is no control socket ({error}): set the run directory with --run-dir"
            problem, remedy = _CONNECT_ERRORS.get(type(error), ("", ""))
            text = f"{problem} {path}: {remedy}" if problem else other
            raise UnreachableError(text) from error


def _decode_reply(frames: list[bytes], path: Path) -> protocol.Reply:
    try:
        (frame,) = frames
        return protocol.to_reply(frame)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(
            f"unreadable answer from {path} ({_error_line(error)}): "
            "use the rbln-ctl of the supervisor's version"
        ) from error


def _error_line(error: Exception) -> str:
    return " ".join(ascii(error.args[0] if error.args else error)[1:-1].split())[:200]

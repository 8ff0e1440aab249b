"""A client of the control socket: one request to a supervisor, and its reply, with a deadline."""

import os
import socket
from pathlib import Path
from time import monotonic
from typing import Final, Self

import msgspec
import zmq

from rbln_supervisor.core.control.protocol import (
    CONTROL_SOCKET,
    DryRun,
    Explain,
    Metrics,
    Reload,
    Reply,
    Request,
    Rescan,
    Status,
    Upgrade,
    encode,
    to_reply,
)

_ABSENT: Final = "start rbln-supervisor, or name its folder with --run-dir"
REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds: a supervisor replies within one loop iteration; one that needs longer hangs."""
DISCOVERY_TIMEOUT_S: Final = 25.0
"""Seconds for a request with a discovery: one may be running already, and each may take 10 s. Also
for one with a check of the installed program (20 s, rbln_supervisor/upgrade.py)."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Maximum size; a longer reply is never received. A status of 20,000 devices has 3 MiB."""


class UnreachableError(Exception):
    """Error: no supervisor replies; one line with a remedy."""


class UnreadableAnswerError(Exception):
    """Error: the reply can't be decoded, or is not a supervisor's; one line."""


def send_request(run_dir: Path, request: Request, *, timeout_s: float | None = None) -> Reply:
    """Send a request to the supervisor of a run directory, and return its reply.

    Raises:
        UnreachableError: No process listens, or none replies in time.
        UnreadableAnswerError: The reply can't be decoded.
    """
    if timeout_s is None:
        timeout_s = _timeout_s(request)
    path = run_dir / CONTROL_SOCKET
    _check_listener(path)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.maxmsgsize = MAX_ANSWER_BYTES
        dealer.connect(f"ipc://{path}")
        dealer.send(encode(request))
        if not dealer.poll(round(timeout_s * 1000)):
            raise _timeout_error(path, timeout_s)
        frames = dealer.recv_multipart()
    return _decode_reply(frames, path)


class Session:
    """Several requests over one connection, also to a later supervisor.

    After a time-out the connection is replaced: a late reply would be taken for that to the next
    request.
    """

    def __init__(self, run_dir: Path) -> None:
        """Connect with the first request, and again if the connection is lost."""
        self._path = run_dir / CONTROL_SOCKET
        self._context = zmq.Context()
        self._dealer: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        self._context.term()

    def send_request(self, request: Request, timeout_s: float) -> Reply:
        """Send a request to the current supervisor, and return its reply.

        Raises:
            UnreachableError: No process listens, or none replies in time.
            UnreadableAnswerError: The reply can't be decoded.
        """
        end = monotonic() + timeout_s
        try:
            dealer = self._connect_peer(end)
            dealer.send(encode(request), zmq.NOBLOCK)
            dealer.poll(_left_ms(end))
            frames = dealer.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            self._hang_up()
            raise _timeout_error(self._path, timeout_s) from None
        except BaseException:
            self._hang_up()
            raise
        return _decode_reply(frames, self._path)

    def _connect_peer(self, end: float) -> "zmq.Socket[bytes]":
        """Return a connection with a peer. Raises zmq.Again after the deadline."""
        if self._dealer is None or not self._dealer.poll(0, zmq.POLLOUT):
            _check_listener(self._path)
        if self._dealer is None:
            self._dealer = self._context.socket(zmq.DEALER)
            self._dealer.linger = 0
            self._dealer.immediate = True  # nothing is queued for a supervisor that isn't there
            self._dealer.maxmsgsize = MAX_ANSWER_BYTES
            self._dealer.connect(f"ipc://{self._path}")
        self._dealer.poll(_left_ms(end), zmq.POLLOUT)
        return self._dealer

    def _hang_up(self) -> None:
        if self._dealer is not None:
            self._dealer.close(0)
            self._dealer = None


def _left_ms(end: float) -> int:
    return max(0, round(1000 * (end - monotonic())))


def _timeout_error(path: Path, timeout_s: float) -> UnreachableError:
    return UnreachableError(
        f"no answer from {path} within {timeout_s:g} s: "
        "the supervisor hangs or is overloaded, see its log"
    )


def _timeout_s(request: Request) -> float:
    match request:
        case Reload() | Rescan() | DryRun() | Upgrade():
            return DISCOVERY_TIMEOUT_S
        case Status() | Metrics() | Explain():
            return REQUEST_TIMEOUT_S


def _check_listener(path: Path) -> None:
    """Detect at once that no process listens: ZeroMQ would wait for one."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(0)
        try:
            knocking.connect(os.fspath(path))
        except BlockingIOError:
            pass  # a process listens, and is busy
        except FileNotFoundError:
            raise UnreachableError(f"no socket {path}: {_ABSENT}") from None
        except ConnectionRefusedError:
            raise UnreachableError(
                f"nobody listens at {path}: the supervisor that made it is gone, start it again"
            ) from None
        except PermissionError:
            raise UnreachableError(
                f"permission denied at {path}: run rbln-ctl as the supervisor's user"
            ) from None
        except (OSError, ValueError) as error:  # ValueError: a NUL, or too long a path
            raise UnreachableError(
                f"{path} can't be a control socket ({error}): name its folder with --run-dir"
            ) from error


def _decode_reply(frames: list[bytes], path: Path) -> Reply:
    try:
        (frame,) = frames
        return to_reply(frame)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(
            f"unreadable answer from {path} ({_error_line(error)}): "
            "are rbln-ctl and the supervisor of the same version?"
        ) from error


def _error_line(error: Exception) -> str:
    return " ".join(ascii(error.args[0] if error.args else error)[1:-1].split())[:200]

"""A ZeroMQ ROUTER on an ipc path that never waits, limits its reads, and counts what it drops.

libzmq closes the connection of a peer that sends an oversized frame, without a report. It is
detected as a connection that ended before one of its frames could be read.
"""

import contextlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from rbln_supervisor.core.control.protocol import HIDDEN

MAX_PATH_BYTES: Final = 107
"""Size of sun_path without the terminating NUL (unix(7))."""
_MAX_FRAMES_READ: Final = 256
"""Maximum number of frames read in one iteration, so that no sender can block the loop."""
_NO_HANDSHAKE: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_UNREAD: Final = "connections ended before a frame could be read"

log = logging.getLogger(__name__)


class BindError(Exception):
    """Error: the socket can't be created; the text has the reason."""


class Frame(NamedTuple):
    """The last frame of a message, and the address for a reply."""

    sender: bytes
    payload: bytes


class Router:
    """A socket for frames from and to many peers."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        *,
        max_bytes: int,
        max_queued: int,
    ) -> None:
        """Bind at ``path``. Raises BindError.

        Args:
            context: of this process.
            path: an ipc path; an existing file is replaced.
            max_bytes: a longer frame closes its sender's connection.
            max_queued: messages that libzmq keeps for a peer that doesn't read; further sends fail.
        """
        if len(str(path).encode()) > MAX_PATH_BYTES:
            raise BindError(
                f"{path}: a socket's path has {MAX_PATH_BYTES} bytes at most (unix(7)); "
                "give --run-dir a shorter path"
            )
        self.dropped: Counter[str] = Counter()
        # By descriptor and not by connection alone: a descriptor may be used again before the end
        # of its last connection is reported.
        self._senders: defaultdict[int, dict[bytes, None]] = defaultdict(dict)
        self._ended: list[int] = []
        self._no_handshake = False
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True  # an unknown peer is an error, not a silent loss
        self.socket.sndhwm = max_queued
        self.socket.maxmsgsize = max_bytes
        self.monitor = self.socket.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _NO_HANDSHAKE
        )
        self._path = path
        self.problem = ""
        """Reason why no client can connect; empty if clients can."""
        self._is_open = True
        self._hidden = path.with_suffix(HIDDEN)
        try:
            self._bind_socket()
        except zmq.ZMQError as error:
            self.close()
            raise BindError(f"{path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket once; frames in transit have ``linger_ms``."""
        if self.socket.closed:
            return
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger_ms)

    def ensure_bound(self) -> None:
        """Bind again if the socket's file was removed; existing connections stay."""
        if not self._is_open:
            self._reveal_socket()
        if _file_identity(self._path) == self._file:
            self.problem = ""
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The listener without a file stays until the end: while libzmq closes one, it removes
            # whatever has its path.
            self._bind_socket()
        except (OSError, zmq.ZMQError) as error:
            if not self.problem:
                self.problem = f"{self._path} was removed and can't be made anew: {error.strerror}"
                log.error(self.problem)  # noqa: TRY400 - the error is in it
        else:
            self.problem = ""
            log.warning("a socket was removed, it is made anew", extra={"path": str(self._path)})

    def stop_accepting(self, why: str) -> None:
        """Accept no connection until ``ensure_bound``; existing connections stay.

        The socket file is hidden by another name. To unbind it would close accepted connections.
        """
        if not self._is_open:
            return
        self._is_open = False
        self.problem = f"{self._path.name}: {why}"
        log.error(self.problem)
        with contextlib.suppress(OSError):  # it was removed: no client can connect
            self._path.rename(self._hidden)

    def _reveal_socket(self) -> None:
        self._is_open = True
        with contextlib.suppress(OSError):  # it was removed meanwhile, and is created again
            if not self._path.exists():
                self._hidden.rename(self._path)
                self._file = _file_identity(self._path)

    def _bind_socket(self) -> None:
        self.socket.bind(f"ipc://{self._path}")
        self._file = _file_identity(self._path)

    def receive(self) -> Iterator[Frame]:
        """Yield the received frames, in order."""
        # The end of a connection is reported after its frames were queued: read the reports first,
        # then the frames, and only after that count the connections that ended without one.
        while self.monitor.poll(0):
            report = recv_monitor_message(self.monitor)
            if report["event"] == zmq.EVENT_ACCEPTED:  # wakes the loop for the descriptor check
                continue
            if report["event"] == zmq.EVENT_DISCONNECTED and not self._no_handshake:
                self._ended.append(int(report["value"]))
            # A peer without ZeroMQ (rbln-ctl when it checks for a listener) ends with two reports
            # in a row.
            self._no_handshake = report["event"] != zmq.EVENT_DISCONNECTED
        for _ in range(_MAX_FRAMES_READ):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            sender = frames[0].bytes
            descriptor = _connection_fd(frames[-1])
            if descriptor is not None:
                self._senders[descriptor][sender] = None
            yield Frame(sender, frames[-1].bytes)
        else:
            return
        for descriptor in self._ended:
            senders = self._senders[descriptor]
            if senders:
                del senders[next(iter(senders))]
            else:
                self.dropped[_UNREAD] += 1
        self._ended.clear()

    def send(self, receiver: bytes, payload: bytes) -> bool:
        """Send a message; return False if the peer is gone or takes nothing now."""
        try:
            self.socket.send_multipart((receiver, payload), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
                return False
            raise
        return True


def _file_identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _connection_fd(frame: zmq.Frame) -> int | None:
    """Return the descriptor of a frame's connection; None for a peer without a handshake.

    libzmq takes bytes that are no greeting for a ZMTP 1.0 peer (zmtp_engine.cpp), so that frames
    may contain anything; such frames have no properties.
    """
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None

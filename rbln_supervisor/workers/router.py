"""A ZeroMQ ROUTER on an ipc path that never waits, limits its reads, and counts what it drops.

libzmq closes the connection of a peer that sends an oversized frame, without a report.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import zmq

from rbln_supervisor.core.status import CounterName
from rbln_worker.contract.errors import RblnError
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.process.file_identity import file_identity

MAX_PATH_BYTES: Final = 107
"""Size of sun_path without the terminating NUL (unix(7))."""
_MAX_QUEUED: Final = 16
"""Maximum number of messages queued for a peer that doesn't read; further sends fail. The
heartbeats of a worker that missed a snapshot name an older generation, and it gets the newest."""
_MAX_FRAMES_READ: Final = 256
"""Maximum number of frames read in one iteration, so that no sender can block the loop."""

log = logging.getLogger(__name__)


class BindError(RblnError):
    """Error: the socket can't be created; the text has the reason."""


class Frame(NamedTuple):
    """The last frame of a message, and the address for a reply."""

    sender: bytes
    payload: bytes


class Router:
    """A socket for frames from and to many peers."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], path: Path, *, max_bytes: int
    ) -> None:
        """Bind at ``path``. Raises BindError.

        Args:
            context: of this process.
            path: an ipc path; an existing file is replaced.
            max_bytes: a longer frame closes its sender's connection.
        """
        if len(str(path).encode()) > MAX_PATH_BYTES:
            raise BindError(
                f"{path}: a socket's path has {MAX_PATH_BYTES} bytes at most (unix(7)); "
                "give --run-dir a shorter path"
            )
        self.dropped: Counter[CounterName] = Counter()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True  # an unknown peer is an error, not a silent loss
        self.socket.sndhwm = _MAX_QUEUED
        self.socket.maxmsgsize = max_bytes
        self._path = path
        self.problem: Problem | None = None
        """Reason why no client can connect; None if clients can."""
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
        """Close the socket; frames in transit have ``linger_ms``."""
        self.socket.close(linger_ms)

    def ensure_bound(self) -> None:
        """Bind again if the socket's file was removed; existing connections stay."""
        if file_identity(self._path) == self._file:
            self.problem = None
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The listener without a file stays until the end: while libzmq closes one, it removes
            # whatever has its path.
            self._bind_socket()
        except (OSError, zmq.ZMQError) as error:
            if not self.problem:
                text = f"{self._path} was removed and can't be created again: {error.strerror}"
                self.problem = make_problem(Code.SOCKET_UNAVAILABLE, text, str(self._path))
                log.error(text)  # noqa: TRY400 - the error is in it
        else:
            self.problem = None
            log.warning("a removed socket is created again", extra={"path": str(self._path)})

    def _bind_socket(self) -> None:
        self.socket.bind(f"ipc://{self._path}")
        self._file = file_identity(self._path)

    def receive(self) -> Iterator[Frame]:
        """Yield the received frames, in order."""
        for _ in range(_MAX_FRAMES_READ):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            yield Frame(frames[0].bytes, frames[-1].bytes)

    def send(self, receiver: bytes, payload: bytes) -> bool:
        """Send a message; return False if the peer is gone or takes nothing now."""
        try:
            self.socket.send_multipart((receiver, payload), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
                return False
            raise
        return True

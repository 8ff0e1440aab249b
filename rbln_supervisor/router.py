"""A ZeroMQ ROUTER on an ipc path that never waits, reads a bounded share, and counts what it drops.

An oversized frame ends its sender's connection inside libzmq, and nobody is told why. It is seen
all the same: as a connection that ended before a frame of it could be read.
"""

import contextlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from rbln_supervisor.core.commands import HIDDEN

PATH_BYTES_MOST: Final = 107
"""sun_path without its end, unix(7)."""
_READ_MOST: Final = 256
"""Frames that are read in one turn, so that no sender can keep the loop from its other work."""
_NO_HANDSHAKE: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_UNREAD: Final = "connections ended before a frame could be read"

log = logging.getLogger(__name__)


class NotBound(Exception):
    """The socket can't be made; the text says why."""


class Frame(NamedTuple):
    """The last frame of a message, and where an answer goes."""

    sender: bytes
    payload: bytes


class Router:
    """Frames from many peers, frames to each."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], path: Path, *, bytes_most: int, queued: int
    ) -> None:
        """Bind at ``path``; NotBound.

        Args:
            context: of this process.
            path: an ipc path; a file there is replaced.
            bytes_most: a longer frame ends its sender's connection.
            queued: messages that libzmq keeps for a peer that doesn't read; then sends fail.
        """
        if len(str(path).encode()) > PATH_BYTES_MOST:
            raise NotBound(
                f"{path}: a socket's path has {PATH_BYTES_MOST} bytes at most (unix(7)); "
                "give --run-dir a shorter path"
            )
        self.dropped: Counter[str] = Counter()
        # By descriptor and not by connection alone: a number is given out again while the end of
        # its last connection is still on its way to us.
        self._spoke: defaultdict[int, dict[bytes, None]] = defaultdict(dict)
        self._ended: list[int] = []
        self._strange = False
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True  # an unknown peer is an error, not a silent loss
        self.socket.sndhwm = queued
        self.socket.maxmsgsize = bytes_most
        self.monitor = self.socket.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _NO_HANDSHAKE
        )
        self._path = path
        self.problem = ""
        """Why nobody new can connect; empty where all is well."""
        self._is_open = True
        self._hidden = path.with_suffix(HIDDEN)
        try:
            self._bind()
        except zmq.ZMQError as error:
            self.close()
            raise NotBound(f"{path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, linger_ms: int = 0) -> None:
        """Stop, where that is not done; frames that are on their way have ``linger_ms``."""
        if self.socket.closed:
            return
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger_ms)

    def keep(self) -> None:
        """Bind again where the socket's file was removed: whoever is connected stays so."""
        if not self._is_open:
            self._show()
        if _identity(self._path) == self._file:
            self.problem = ""
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The listener without a file stays until the end: while libzmq takes one down, it
            # removes whatever has its name.
            self._bind()
        except (OSError, zmq.ZMQError) as error:
            if not self.problem:
                self.problem = f"{self._path} was removed and can't be made anew: {error.strerror}"
                log.error(self.problem)  # noqa: TRY400 - the error is in it
        else:
            self.problem = ""
            log.warning("a socket was removed, it is made anew", extra={"path": str(self._path)})

    def refuse(self, why: str) -> None:
        """Take no connection until ``keep``; whoever is connected stays so.

        The socket is hidden by another name. To unbind it would end what it has taken.
        """
        if not self._is_open:
            return
        self._is_open = False
        self.problem = f"{self._path.name}: {why}"
        log.error(self.problem)
        with contextlib.suppress(OSError):  # it was removed: nobody can connect
            self._path.rename(self._hidden)

    def _show(self) -> None:
        self._is_open = True
        with contextlib.suppress(OSError):  # it was removed meanwhile, and is made anew
            if not self._path.exists():
                self._hidden.rename(self._path)
                self._file = _identity(self._path)

    def _bind(self) -> None:
        self.socket.bind(f"ipc://{self._path}")
        self._file = _identity(self._path)

    def receive(self) -> Iterator[Frame]:
        """What has come, in order."""
        # A connection's end is reported after its frames were queued: read the reports first, the
        # frames then, and only after that say whose end came without any.
        while self.monitor.poll(0):
            report = recv_monitor_message(self.monitor)
            if report["event"] == zmq.EVENT_ACCEPTED:  # wakes whoever counts descriptors
                continue
            if report["event"] == zmq.EVENT_DISCONNECTED and not self._strange:
                self._ended.append(int(report["value"]))
            # Whoever spoke no ZeroMQ (rbln-ctl knocking, say) ends with two reports in a row.
            self._strange = report["event"] != zmq.EVENT_DISCONNECTED
        for _ in range(_READ_MOST):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            sender = frames[0].bytes
            descriptor = _descriptor(frames[-1])
            if descriptor is not None:
                self._spoke[descriptor][sender] = None
            yield Frame(sender, frames[-1].bytes)
        else:
            return
        for descriptor in self._ended:
            senders = self._spoke[descriptor]
            if senders:
                del senders[next(iter(senders))]
            else:
                self.dropped[_UNREAD] += 1
        self._ended.clear()

    def send(self, receiver: bytes, payload: bytes) -> bool:
        """Send, or say that the peer is gone or takes nothing now."""
        try:
            self.socket.send_multipart((receiver, payload), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
                return False
            raise
        return True


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _descriptor(frame: zmq.Frame) -> int | None:
    """Where a frame came in; None for a peer without a handshake.

    Bytes that are no greeting are taken for a ZMTP 1.0 peer's (libzmq, zmtp_engine.cpp), so that
    frames may come of anything at all; such frames carry no properties.
    """
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None

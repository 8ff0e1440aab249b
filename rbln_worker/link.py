"""The worker's end of ZeroMQ: a DEALER that outlives the supervisor it talks to."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from rbln_worker.contract.messages import (
    FRAME_BYTES_MOST,
    ToSupervisor,
    ToWorker,
    UnreadableFrame,
    encode,
    to_worker,
)

WORKERS_SOCKET: Final = "workers.sock"
_QUEUED_MOST: Final = 64  # state is sent again after a reconnect, so little needs to be kept
_RECONNECT_MS: Final = 20
_RECONNECT_MOST_MS: Final = 100

log = logging.getLogger(__name__)


class Link:
    """Messages to and from whichever supervisor there is; nothing here waits.

    libzmq signals on edges: after any send or receive new frames may lie there without the
    descriptor telling. Whoever owns a link calls ``receive`` after each ``send`` as well.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = True  # nothing queues for a supervisor that isn't there
        self._socket.sndhwm = self._socket.rcvhwm = _QUEUED_MOST
        self._socket.maxmsgsize = FRAME_BYTES_MOST
        self._socket.reconnect_ivl = _RECONNECT_MS
        self._socket.reconnect_ivl_max = _RECONNECT_MOST_MS
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(f"ipc://{run_dir / WORKERS_SOCKET}")
        self.dropped_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def filenos(self) -> tuple[int, int]:
        """Descriptors that turn readable when ``connected`` or ``receive`` has news."""
        return self._monitor.fileno(), self._socket.fileno()

    def connected(self) -> bool:
        """Whether a connection was made since the last time: a supervisor that knows nothing."""
        made = False
        while _has_come(self._monitor):
            recv_monitor_message(self._monitor)
            made = True
        return made

    def receive(self) -> Iterator[ToWorker]:
        """Everything that has come; a frame that can't be read is counted and dropped."""
        while _has_come(self._socket):
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                yield to_worker(frames[-1])
            except UnreadableFrame as error:
                self.dropped_frames += 1
                log.warning("unreadable frame dropped", extra={"why": str(error)[:200]})

    def send(self, message: ToSupervisor) -> bool:
        """Send, or say that nobody takes it now: a new connection gets all of it again."""
        try:
            self._socket.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


def _has_come(socket: "zmq.Socket[bytes]") -> bool:
    # Asked for by itself: an exception for nothing, or a poll, cost more than all of a beat.
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)

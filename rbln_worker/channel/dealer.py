"""The worker's ZeroMQ socket: a DEALER that outlives the supervisor."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from rbln_worker.contract.messages import (
    MAX_FRAME_BYTES,
    FrameError,
    ToSupervisor,
    ToWorker,
    encode_message,
    to_worker,
)

WORKERS_SOCKET: Final = "workers.sock"
_MAX_QUEUED: Final = 64  # state is sent again after a reconnect, so little is queued
_RECONNECT_MS: Final = 20
_MAX_RECONNECT_MS: Final = 100

log = logging.getLogger(__name__)


class SupervisorSocket:
    """Messages to and from the current supervisor; no call blocks.

    libzmq signals on edges: after a send or receive there may be new frames without a signal of the
    descriptor. So the owner of a link calls ``receive`` after each ``send`` as well.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = True  # nothing queues without a supervisor
        self._socket.sndhwm = self._socket.rcvhwm = _MAX_QUEUED
        self._socket.maxmsgsize = MAX_FRAME_BYTES
        self._socket.reconnect_ivl = _RECONNECT_MS
        self._socket.reconnect_ivl_max = _MAX_RECONNECT_MS
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(f"ipc://{run_dir / WORKERS_SOCKET}")
        self.dropped_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def file_descriptors(self) -> tuple[int, int]:
        """Return the descriptors that become readable for ``has_connected`` or ``receive``."""
        return self._monitor.fileno(), self._socket.fileno()

    def has_connected(self) -> bool:
        """Return True after a new connection, maybe to a new supervisor."""
        made = False
        while _has_come(self._monitor):
            recv_monitor_message(self._monitor)
            made = True
        return made

    def receive(self) -> Iterator[ToWorker]:
        """Yield all received messages; a frame that can't be decoded is counted and dropped."""
        while _has_come(self._socket):
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                yield to_worker(frames[-1])
            except FrameError as error:
                self.dropped_frames += 1
                log.warning("unreadable frame dropped", extra={"why": str(error)[:200]})

    def send(self, message: ToSupervisor) -> bool:
        """Send a message; return False if the socket does not take it now.

        A new connection gets the whole state again.
        """
        try:
            self._socket.send(encode_message(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


def _has_come(socket: "zmq.Socket[bytes]") -> bool:
    # The option is read directly: an exception or a poll would cost more than a heartbeat.
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)

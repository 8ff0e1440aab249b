"""Passes our standard error to adopted workers (rbln_worker/process/stderr_client.py)."""

import contextlib
import logging
import select
import socket
from pathlib import Path
from typing import Final, Self

from rbln_worker.process.stderr_client import STDERR_SOCKET

_MAX_WAITING: Final = 128
"""Maximum number of pending connections; further workers keep the descriptor that they have."""
_STDERR: Final = 2

log = logging.getLogger(__name__)


class StderrServer:
    """A server that sends the descriptor to all clients: only our user can open the folder."""

    def __init__(self, run_dir: Path) -> None:
        """Listen in ``run_dir``. Raises OSError."""
        self._path = run_dir / STDERR_SOCKET
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self._path))
        self._socket.listen(_MAX_WAITING)
        self._waiting = select.poll()
        self._waiting.register(self._socket, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``serve_clients`` has work."""
        return () if self._socket.fileno() < 0 else (self._socket.fileno(),)

    def serve_clients(self) -> None:
        """Send the descriptor to each pending client."""
        # Only if a client waits: accept(2) takes a descriptor before it checks for one, and there
        # may be none left.
        while self._waiting.poll(0):
            try:
                client, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # The descriptor would stay readable, and the loop would never sleep.
                log.warning("adopted workers keep their standard error", extra={"why": error})
                self._waiting.unregister(self._socket)
                self._socket.close()
                return
            with client, contextlib.suppress(OSError):  # gone meanwhile
                socket.send_fds(client, [b"\0"], [_STDERR], socket.MSG_DONTWAIT)

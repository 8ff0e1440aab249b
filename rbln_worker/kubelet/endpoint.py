"""An endpoint: a socket with a unique name, which serves before the kubelet learns of it."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from rbln_worker.contract.errors import RblnError
from rbln_worker.process.file_identity import file_identity

MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of a request; a longer one is refused (RESOURCE_EXHAUSTED). 20,000 device IDs of 60
bytes are a third of it."""
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
)


def max_grpc_threads() -> int:
    """Return the maximum number of threads that gRPC starts with the first endpoint.

    A thread pool with one for each core, at least 4 and at most 16 (gRPC 1.85, event_engine), and
    one each for the loop, the pool's guard and two kinds of timers.
    """
    return min(16, max(4, os.cpu_count() or 16)) + 4


class EndpointError(RblnError):
    """The socket can't be served; the text has the reason."""


class Endpoint:
    """A gRPC server with a unix socket of its own."""

    def __init__(self, server: grpc.aio.Server, path: Path) -> None:
        self._server = server
        self._identity = file_identity(path)
        self.path = path

    @classmethod
    async def open(cls, path: Path, services: Iterable[grpc.GenericRpcHandler]) -> "Endpoint":
        """Serve at ``path``, which must not exist; raise EndpointError."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(services))
        try:
            server.add_insecure_port(f"unix:{path}")
            await server.start()
        except (RuntimeError, OSError) as error:  # gRPC raises RuntimeError if bind fails
            await server.stop(None)
            raise EndpointError(f"can't serve on {path}: {error}") from error
        return cls(server, path)

    def file_exists(self) -> bool:
        """Return True if the socket's file is still the one that was created."""
        return self._identity is not None and file_identity(self.path) == self._identity

    def unlink_file(self) -> None:
        """Remove the file, if it is still the same; connected clients are still served.

        ``file_exists`` stays True if the file can't be removed: in a folder that became read-only.
        """
        if self.file_exists():
            self._remove_file()

    async def close(self, grace_s: float | None = None) -> None:
        """End the streams and calls; the file is removed as in ``unlink_file``."""
        ours = self.file_exists()
        await self._server.stop(grace_s)
        if ours:
            self._remove_file()

    def _remove_file(self) -> None:
        with contextlib.suppress(OSError):  # callers check ``file_exists``
            self.path.unlink(missing_ok=True)

"""kubelet.sock: the Registration service on a socket that outlives it, as a killed kubelet's."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc

from tests.sim.rpc import KUBELET, Handler, add_service

SOCKET: Final = "kubelet.sock"

_CALLS_AT_ONCE: Final = 64


class KubeletSocket:
    """A server on ``folder``/kubelet.sock."""

    def __init__(self, folder: Path, register: Handler) -> None:
        # gRPC removes its socket's path when it stops. A real kubelet that ends leaves the file, so
        # the server is given a path through a link, and the link goes first.
        self._aside = Path(tempfile.mkdtemp(prefix="rbk-", dir="/tmp"))
        (self._aside / "k").symlink_to(folder)
        self._server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE))
        add_service(self._server, KUBELET, {"Register": register})
        self._server.add_insecure_port(f"unix:{self._aside}/k/{SOCKET}")
        self._server.start()

    def close(self) -> None:
        """Stop serving; the dead socket stays."""
        shutil.rmtree(self._aside)
        self._server.stop(None).wait()

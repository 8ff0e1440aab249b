"""The floor of Allocate: an empty grpc.aio server that answers the same bytes, as a process.

``python -m tests.bench.floor SOCKET`` reads the answer from standard input, and says ``ready``.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import grpc
import grpc.aio

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.plugin_client import PluginClient

_READY: Final = "ready"


@contextmanager
def floor(answer: pb.AllocateResponse) -> Iterator[PluginClient]:
    """A client of an empty server, the same as the simulated kubelet has of a plugin."""
    with TemporaryDirectory(prefix="rbf-", dir="/tmp") as folder:
        socket = Path(folder) / "floor.sock"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.floor", str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            process.stdin.write(answer.SerializeToString())
            process.stdin.close()
            try:
                process.stdout.readline()
                client = PluginClient("floor", socket, "kubelet-sock")
                try:
                    client.dial(10.0)
                    yield client
                finally:
                    client.close()
            finally:
                process.kill()


async def _serve(path: str, answer: bytes) -> None:
    async def allocate(_: bytes, __: object) -> bytes:
        return answer

    async def options(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server()
    service = pb.DESCRIPTOR.services_by_name["DevicePlugin"].full_name
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Allocate": grpc.unary_unary_rpc_method_handler(allocate),
        "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(options),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print(_READY, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.stdin.buffer.read()))

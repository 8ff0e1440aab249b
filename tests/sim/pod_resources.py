"""The kubelet's pod-resources API (v1): who has which device, as tests say."""

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc

from rbln_worker.kubelet.api import podresources_pb2 as pb

_METHOD: Final = f"{pb.DESCRIPTOR.services_by_name['PodResourcesLister'].full_name}"
_CALLS_AT_ONCE: Final = 8


class PodResources:
    """A server on pod-resources/kubelet.sock, whose file outlives it as a killed kubelet's does."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the kubelet's; nothing is served yet."""
        self.socket = folder / "pod-resources" / "kubelet.sock"
        self.asked = 0
        """How often it was asked."""
        self.garbage: bytes | None = None
        """What it answers instead, where it does."""
        self.error: grpc.StatusCode | None = None
        """What it fails with, where it does."""
        self._pods: list[pb.PodResources] = []
        self._answering = threading.Event()
        self._answering.set()
        self._server: grpc.Server | None = None
        self._aside: Path | None = None

    def hold(
        self,
        resource: str,
        devices: Iterable[str],
        *,
        pod: str = "train-0",
        container: str = "main",
    ) -> None:
        """Say that a pod of the namespace ``ml`` has devices, besides what others have."""
        had = pb.ContainerDevices(resource_name=resource, device_ids=devices)
        containers = [pb.ContainerResources(name=container, devices=[had])]
        self._pods.append(pb.PodResources(name=pod, namespace="ml", containers=containers))

    def hold_claim(
        self, driver: str, devices: Iterable[str], *, pod: str = "train-0", claim: str = "npus"
    ) -> None:
        """Say that a pod of the namespace ``ml`` has devices by a ResourceClaim."""
        resources = [
            pb.ClaimResource(driver_name=driver, pool_name="n1", device_name=one) for one in devices
        ]
        had = pb.DynamicResource(claim_name=claim, claim_namespace="ml", claim_resources=resources)
        containers = [pb.ContainerResources(name="main", dynamic_resources=[had])]
        self._pods.append(pb.PodResources(name=pod, namespace="ml", containers=containers))

    def release(self) -> None:
        """Say that no pod has anything."""
        self._pods.clear()

    def hang(self) -> None:
        """Take calls from now on, and don't answer."""
        self._answering.clear()

    def resume(self) -> None:
        """Answer again, also what was taken meanwhile."""
        self._answering.set()

    def start(self) -> None:
        """Serve."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        # As with kubelet.sock: gRPC would remove the path of a socket that it stops to serve.
        self._aside = Path(tempfile.mkdtemp(prefix="rbp-", dir="/tmp"))
        (self._aside / "p").symlink_to(self.socket.parent)
        self._server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE))
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            self._list
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_METHOD, {"List": handler}),)
        )
        self._server.add_insecure_port(f"unix:{self._aside}/p/{self.socket.name}")
        self._server.start()

    def stop(self) -> None:
        """Stop serving; the dead socket stays."""
        server, self._server = self._server, None
        if server is None or self._aside is None:
            return
        shutil.rmtree(self._aside)
        self._answering.set()
        server.stop(None).wait()

    def remove(self) -> None:
        """Stop serving, and leave nothing: a kubelet without this API."""
        self.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.socket.parent)

    def _list(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        pb.ListPodResourcesRequest.FromString(request)
        self.asked += 1
        self._answering.wait()
        if self.error is not None:
            context.abort(self.error, "as the test wants it")
        if self.garbage is not None:
            return self.garbage
        return pb.ListPodResourcesResponse(pod_resources=self._pods).SerializeToString()

"""A DRA driver of a page, to try the simulated kubelet with, and to hold it to the real one."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from rbln_worker.dra.api import dra_health_pb2 as health_pb
from rbln_worker.dra.api import dra_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as watched
from tests.sim.files import identity
from tests.sim.rpc import WATCHED, Handler, add_service

V1: Final = ("v1.DRAPlugin",)
_PLUGIN: Final = pb.DESCRIPTOR.services_by_name["DRAPlugin"]
_HEALTH: Final = health_pb.DESCRIPTOR.services_by_name["DRAResourceHealth"]
_DEADLINE_S: Final = 20.0


class TinyDra:
    """Serves one socket in plugins_registry while it is open."""

    def __init__(
        self,
        folder: Path,
        driver: str,
        *,
        socket: str = "tiny-dra.sock",
        endpoint: Path | None = None,
        versions: Sequence[str] = V1,
    ) -> None:
        """``endpoint``: of another socket than its own; ``versions``: what GetInfo says."""
        self.socket = folder / socket
        self.driver = driver
        self.notifications: list[watched.RegistrationStatus] = []
        self.prepared: list[str] = []
        """The names of the claims, as they came."""
        self.streams: list[str] = []
        """The health services whose streams were opened."""
        self._endpoint = endpoint or self.socket
        self._versions = tuple(versions)
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8))
        add_service(
            self._server,
            WATCHED,
            {"GetInfo": self._info, "NotifyRegistrationStatus": self._notified},
        )
        add_service(
            self._server,
            _PLUGIN,
            {"NodePrepareResources": self._prepare, "NodeUnprepareResources": self._unprepare},
        )
        for version in ("v1", "v1alpha1"):
            self._add_health(_HEALTH, version)
        hidden = folder / f".{socket}"
        self._server.add_insecure_port(f"unix:{hidden}")
        self._server.start()
        hidden.rename(self.socket)
        self._file = identity(self.socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, and remove the socket if it is still this driver's."""
        self._over.set()
        if self._file == identity(self.socket):
            self.socket.unlink(missing_ok=True)
        self._server.stop(None).wait()

    def first_notification(self) -> watched.RegistrationStatus:
        """Wait for the watcher's first notification."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.notifications, _DEADLINE_S)
            return self.notifications[0]

    def wait_notifications(self, count: int) -> None:
        """Wait for so many notifications."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.notifications) >= count, _DEADLINE_S)

    def first_stream(self) -> str:
        """Wait for a health stream; return its service."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.streams, _DEADLINE_S)
            return self.streams[0]

    def _add_health(self, service: ServiceDescriptor, version: str) -> None:
        def watch(
            _: health_pb.NodeWatchResourcesRequest, __: grpc.ServicerContext
        ) -> Iterator[health_pb.NodeWatchResourcesResponse]:
            with self._changed:
                self.streams.append(f"{version}.DRAResourceHealth")
                self._changed.notify_all()
            device = health_pb.DeviceHealth(
                device=health_pb.DeviceIdentifier(pool_name="node", device_name="a"),
                health=health_pb.HEALTHY,
                message="it is well",
            )
            yield health_pb.NodeWatchResourcesResponse(devices=[device])
            self._over.wait()

        handler: Handler = watch
        method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
            handler,
            request_deserializer=health_pb.NodeWatchResourcesRequest.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    f"{version}.{service.name}", {"NodeWatchResources": method}
                ),
            )
        )

    def _info(self, _: watched.InfoRequest, __: grpc.ServicerContext) -> watched.PluginInfo:
        return watched.PluginInfo(
            type="DRAPlugin",
            name=self.driver,
            endpoint=os.fspath(self._endpoint),
            supported_versions=self._versions,
        )

    def _notified(
        self, status: watched.RegistrationStatus, _: grpc.ServicerContext
    ) -> watched.RegistrationStatusResponse:
        with self._changed:
            self.notifications.append(status)
            self._changed.notify_all()
        return watched.RegistrationStatusResponse()

    def _prepare(
        self, request: pb.NodePrepareResourcesRequest, _: grpc.ServicerContext
    ) -> pb.NodePrepareResourcesResponse:
        response = pb.NodePrepareResourcesResponse()
        for claim in request.claims:
            self.prepared.append(claim.name)
            response.claims[claim.uid].devices.add(
                request_names=["all"], pool_name="node", device_name="a", cdi_device_ids=["a/b=c"]
            )
        return response

    def _unprepare(
        self, request: pb.NodeUnprepareResourcesRequest, _: grpc.ServicerContext
    ) -> pb.NodeUnprepareResourcesResponse:
        response = pb.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            response.claims[claim.uid].error = "" if claim.name in self.prepared else "unknown"
        return response

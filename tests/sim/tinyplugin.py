"""A device plugin of a page, to try the simulated kubelet with."""

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as watched
from tests.sim.files import identity
from tests.sim.rpc import DEVICE_PLUGIN, KUBELET, WATCHED, add_service, channel_to, unary

_CALLS_AT_ONCE: Final = 16
_REGISTER_DEADLINE_S: Final = 15.0
"""More than the kubelet's own 10 s for a dial inside Register."""


class TinyPlugin:
    """Serves on ``folder``/``endpoint`` while it is open; ``register`` is the test's to call.

    In a plugins_registry folder it is found by itself: it answers the watcher on the same socket.
    """

    def __init__(
        self,
        folder: Path,
        resource: str,
        devices: Mapping[str, int | None],
        *,
        endpoint: str = "tiny.sock",
        kind: str = "DevicePlugin",
        version: str = "v1beta1",
        info_endpoint: str | None = None,
    ) -> None:
        """A plugin that serves at once.

        Args:
            folder: where its socket is.
            resource: the name of its resource.
            devices: ID → NUMA node, None where it has none; all are healthy.
            endpoint: the socket's file name.
            kind: GetInfo's type.
            version: of Register and GetInfo.
            info_endpoint: GetInfo's endpoint; None: the socket's path.
        """
        self.socket = folder / endpoint
        self.resource = resource
        self._notifications: list[watched.RegistrationStatus] = []
        self._kind = kind
        self._version = version
        self._info_endpoint = os.fspath(self.socket) if info_endpoint is None else info_endpoint
        self._numa = dict(devices)
        self._health = dict.fromkeys(devices, "Healthy")
        self._generation = 0
        self._ended = False
        self._streams = 0
        self._calls: list[str] = []
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE))
        add_service(
            self._server,
            DEVICE_PLUGIN,
            {
                "GetDevicePluginOptions": self._options,
                "ListAndWatch": self._list_and_watch,
                "GetPreferredAllocation": self._prefer,
                "Allocate": self._allocate,
                "PreStartContainer": lambda _r, _c: pb.PreStartContainerResponse(),
            },
        )
        add_service(
            self._server,
            WATCHED,
            {"GetInfo": self._info, "NotifyRegistrationStatus": self._notified},
        )
        # The kubelet looks at a socket when it appears: it has to be served by then, so it is made
        # under a hidden name, which watchers ignore.
        hidden = folder / f".{endpoint}"
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
        """Stop serving, and remove the socket where it is still this plugin's."""
        self.end_streams()
        if self._file == identity(self.socket):
            self.socket.unlink(missing_ok=True)
        self._server.stop(None).wait()

    @property
    def calls(self) -> tuple[str, ...]:
        """What was called, in order, but for calls that concern a container."""
        with self._changed:
            return tuple(self._calls)

    @property
    def streams(self) -> int:
        """How many ListAndWatch streams are open."""
        with self._changed:
            return self._streams

    def wait_streams(self, count: int) -> None:
        """Wait until so many ListAndWatch streams are open."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._streams == count, _REGISTER_DEADLINE_S)

    def wait_calls(self, method: str, count: int) -> None:
        """Wait until ``method`` was called so often."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self._calls.count(method) >= count, _REGISTER_DEADLINE_S
            )

    def register(self, kubelet_socket: Path) -> None:
        """Call Register; grpc.RpcError where the kubelet refuses."""
        request = pb.RegisterRequest(
            version=self._version, endpoint=self.socket.name, resource_name=self.resource
        )
        with channel_to(kubelet_socket) as channel:
            unary(channel, KUBELET, "Register", pb.Empty)(
                request, timeout=_REGISTER_DEADLINE_S, wait_for_ready=True
            )

    def set_health(self, device: str, health: str) -> None:
        """Change a device's health; every stream gets a message."""
        with self._changed:
            self._health[device] = health
            self._generation += 1
            self._changed.notify_all()

    def end_streams(self) -> None:
        """End all streams with OK, now and later."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def first_notification(self) -> watched.RegistrationStatus:
        """What the watcher said first; waits for it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._notifications, _REGISTER_DEADLINE_S)
            return self._notifications[0]

    def _list_and_watch(
        self, _: pb.Empty, context: grpc.ServicerContext
    ) -> Iterator[pb.ListAndWatchResponse]:
        shown = -1
        context.add_callback(self._wake)
        self._note("ListAndWatch")
        with self._changed:
            self._streams += 1
        try:
            while True:
                with self._changed:
                    while self._generation == shown and not self._ended and context.is_active():
                        self._changed.wait()
                    if self._ended or not context.is_active():
                        return
                    shown = self._generation
                    message = self._message()
                yield message  # where the call ends here, gRPC drops the generator
        finally:
            with self._changed:
                self._streams -= 1
                self._changed.notify_all()

    def _message(self) -> pb.ListAndWatchResponse:
        return pb.ListAndWatchResponse(
            devices=[
                pb.Device(
                    ID=name,
                    health=health,
                    topology=None
                    if (numa := self._numa[name]) is None
                    else pb.TopologyInfo(nodes=[pb.NUMANode(ID=numa)]),
                )
                for name, health in self._health.items()
            ]
        )

    def _options(self, _: pb.Empty, __: grpc.ServicerContext) -> pb.DevicePluginOptions:
        self._note("GetDevicePluginOptions")
        return pb.DevicePluginOptions(get_preferred_allocation_available=True)

    def _note(self, call: str) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _prefer(
        self, request: pb.PreferredAllocationRequest, _: grpc.ServicerContext
    ) -> pb.PreferredAllocationResponse:
        return pb.PreferredAllocationResponse(
            container_responses=[
                pb.ContainerPreferredAllocationResponse(
                    deviceIDs=sorted(one.available_deviceIDs)[: one.allocation_size]
                )
                for one in request.container_requests
            ]
        )

    def _allocate(
        self, request: pb.AllocateRequest, _: grpc.ServicerContext
    ) -> pb.AllocateResponse:
        return pb.AllocateResponse(
            container_responses=[
                pb.ContainerAllocateResponse(envs={"TINY": ",".join(sorted(one.devicesIDs))})
                for one in request.container_requests
            ]
        )

    def _info(self, _: watched.InfoRequest, __: grpc.ServicerContext) -> watched.PluginInfo:
        self._note("GetInfo")
        return watched.PluginInfo(
            type=self._kind,
            name=self.resource,
            endpoint=self._info_endpoint,
            supported_versions=[self._version],
        )

    def _notified(
        self, status: watched.RegistrationStatus, _: grpc.ServicerContext
    ) -> watched.RegistrationStatusResponse:
        self._note("NotifyRegistrationStatus")
        with self._changed:
            self._notifications.append(status)
            self._changed.notify_all()
        return watched.RegistrationStatusResponse()

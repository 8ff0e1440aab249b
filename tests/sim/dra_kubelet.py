"""The part of a kubelet that talks to DRA drivers: registration, calls and the health stream.

As pkg/kubelet/cm/dra/plugin of 1.37: the newest registered socket of a driver is asked, in the
first version of each service that it names.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, NamedTuple, Self

import grpc

from rbln_worker.dra.api import dra_health_pb2 as health_pb
from rbln_worker.dra.api import dra_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as watched
from tests.sim.rpc import WATCHED, channel_to, unary

DEADLINE_S: Final = 30.0
CALL_TIMEOUT_S: Final = 45.0
_PACKAGE: Final = "k8s.io.kubelet.pkg.apis.dra"


class Claim(NamedTuple):
    """A claim as the kubelet names it."""

    uid: str
    name: str
    namespace: str = "default"

    @property
    def message(self) -> pb.Claim:
        return pb.Claim(uid=self.uid, name=self.name, namespace=self.namespace)


class DraDriver:
    """A registered driver: one socket."""

    def __init__(self, socket: Path, info: watched.PluginInfo, channel: grpc.Channel) -> None:
        self.socket = socket
        self.info = info
        self._channel = channel

    def prepare(
        self, *claims: Claim, version: str = "v1", within_s: float = CALL_TIMEOUT_S
    ) -> pb.NodePrepareResourcesResponse:
        """NodePrepareResources."""
        request = pb.NodePrepareResourcesRequest(claims=[one.message for one in claims])
        call = self._channel.unary_unary(
            f"/{_PACKAGE}.{version}.DRAPlugin/NodePrepareResources",
            request_serializer=pb.NodePrepareResourcesRequest.SerializeToString,
            response_deserializer=pb.NodePrepareResourcesResponse.FromString,
        )
        answer: pb.NodePrepareResourcesResponse = call(request, timeout=within_s)
        return answer

    def unprepare(self, *claims: Claim, version: str = "v1") -> pb.NodeUnprepareResourcesResponse:
        """NodeUnprepareResources."""
        request = pb.NodeUnprepareResourcesRequest(claims=[one.message for one in claims])
        call = self._channel.unary_unary(
            f"/{_PACKAGE}.{version}.DRAPlugin/NodeUnprepareResources",
            request_serializer=pb.NodeUnprepareResourcesRequest.SerializeToString,
            response_deserializer=pb.NodeUnprepareResourcesResponse.FromString,
        )
        answer: pb.NodeUnprepareResourcesResponse = call(request, timeout=CALL_TIMEOUT_S)
        return answer

    @contextmanager
    def health(
        self, version: str = "v1"
    ) -> Iterator[Iterator[health_pb.NodeWatchResourcesResponse]]:
        """NodeWatchResources, until the end of the block."""
        call = self._channel.unary_stream(
            f"/{version}.DRAResourceHealth/NodeWatchResources",
            request_serializer=health_pb.NodeWatchResourcesRequest.SerializeToString,
            response_deserializer=health_pb.NodeWatchResourcesResponse.FromString,
        )
        stream = call(health_pb.NodeWatchResourcesRequest(), timeout=DEADLINE_S)
        try:
            yield stream
        finally:
            stream.cancel()

    def close(self) -> None:
        self._channel.close()


class DraKubelet:
    """Registers drivers of a folder plugins_registry when it is asked to."""

    def __init__(self, folder: Path) -> None:
        """``folder``: /var/lib/kubelet of a real one."""
        self.registry = folder / "plugins_registry"
        self.registry.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, DraDriver] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._known.values():
            one.close()

    def wait_driver(
        self, name: str, condition: Callable[[DraDriver], bool] = lambda _: True
    ) -> DraDriver:
        """Register sockets until one of them is this driver, and fulfills a condition."""
        until = monotonic() + DEADLINE_S
        while monotonic() < until:
            self._register_new()
            for one in reversed(self._known.values()):
                if one.info.name == name and condition(one):
                    return one
            sleep(0.02)
        raise AssertionError(f"no driver {name}: {[one.info for one in self._known.values()]}")

    def _register_new(self) -> None:
        sockets = {path.name: path for path in self.registry.iterdir() if path.is_socket()}
        for name in self._known.keys() - sockets.keys():
            self._known.pop(name).close()
        for name in sockets.keys() - self._known.keys():
            channel = channel_to(sockets[name])
            try:
                info = unary(channel, WATCHED, "GetInfo", watched.PluginInfo)(
                    watched.InfoRequest(), timeout=5.0, wait_for_ready=True
                )
                unary(
                    channel, WATCHED, "NotifyRegistrationStatus", watched.RegistrationStatusResponse
                )(watched.RegistrationStatus(plugin_registered=True), timeout=5.0)
            except grpc.RpcError:
                channel.close()  # a worker that has just ended
                continue
            self._known[name] = DraDriver(sockets[name], info, channel)

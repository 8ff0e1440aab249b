"""A kubelet's DRA plugins: registered by their sockets, asked for claims, watched for health.

Kubernetes: pkg/kubelet/cm/dra/plugin (dra_plugin_manager.go, dra_plugin.go) and
pkg/kubelet/cm/dra/healthinfo.go. A driver may have several sockets: the newest connected one is
asked, or the newest. ``wipe`` stands for the deletion of the node's slices: of all drivers at the
kubelet's start, of one driver some time after its last connection has ended.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

import grpc

from rbln_worker.dra.api import dra_health_pb2 as health_pb
from rbln_worker.dra.api import dra_pb2 as pb
from tests.sim.dra_records import Claim, DraAnswer, DraDevice, DraHealth, DraRegistered
from tests.sim.rpc import channel_to, code_of

PLUGIN_KIND: Final = "DRAPlugin"
CALL_DEADLINE_S: Final = 45.0
"""The kubelet's limit for NodePrepareResources and NodeUnprepareResources."""
WIPING_DELAY_S: Final = 30.0
HEALTH_TIMEOUT_S: Final = 30.0
"""Health that was not repeated for so long is Unknown, unless the plugin says another time."""
HEALTH_AGAIN_S: Final = 5.0
"""From the end of a health stream to the next attempt."""
_SERVICES: Final = ("v1.DRAPlugin", "v1beta1.DRAPlugin")
_HEALTH_1_37: Final = ("v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth")
_HEALTH_1_36: Final = ("v1alpha1.DRAResourceHealth",)
_PACKAGE: Final = "k8s.io.kubelet.pkg.apis.dra"


class _Plugin:
    """The connection to one socket of a driver."""

    def __init__(
        self, driver: str, endpoint: Path, service: str, health: str, owner: "DraPlugins"
    ) -> None:
        self.driver = driver
        self.endpoint = endpoint
        self.service = service
        self.connected = False
        self._owner = owner
        self._health = health
        self._over = threading.Event()
        self._channel = channel_to(endpoint)
        self._watch: grpc.Call | None = None
        self._channel.subscribe(self._changed, try_to_connect=True)
        self._thread = threading.Thread(target=self._follow, name=f"health {driver}", daemon=True)
        if health:
            self._thread.start()

    def call(self, method: str, request: bytes, deadline_s: float) -> bytes:
        """Call a method of the chosen version."""
        call = self._channel.unary_unary(
            f"/{_PACKAGE}.{self.service}/{method}",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        answer: bytes = call(request, timeout=deadline_s)
        return answer

    def close(self) -> None:
        """End the connection and the health stream."""
        self._over.set()
        if self._watch is not None:
            self._watch.cancel()
        # First: gRPC's thread that polls the state raises an error on a closed channel.
        self._channel.unsubscribe(self._changed)
        self._channel.close()
        if self._health and self._thread is not threading.current_thread():
            self._thread.join()

    def _changed(self, state: grpc.ChannelConnectivity) -> None:
        connected = state is grpc.ChannelConnectivity.READY
        if connected != self.connected and not self._over.is_set():
            self.connected = connected
            self._owner.connection_changed(self.driver)

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                watch = self._channel.unary_stream(
                    f"/{self._health}/NodeWatchResources",
                    request_serializer=bytes,
                    response_deserializer=health_pb.NodeWatchResourcesResponse.FromString,
                )(b"")  # the request has no fields
                self._watch = watch
                if self._over.is_set():
                    watch.cancel()
                for response in watch:
                    self._owner.health_reported(self.driver, response)
            except grpc.RpcError as error:
                if code_of(error) == "UNIMPLEMENTED":
                    return
            except ValueError:  # the channel was closed
                return
            self._over.wait(HEALTH_AGAIN_S)


class DraPlugins:
    """The DRA plugins that a kubelet knows; what it saw outlives its restarts."""

    def __init__(self, *, health_v1: bool = True) -> None:
        """``health_v1``: from 1.37 on."""
        self.changed = threading.Condition()
        self.wipe: Callable[[str], None] = lambda _: None
        """Delete the slices of the node: of this driver, or (empty) of all."""
        self.wiping_delay_s = WIPING_DELAY_S
        self.registrations: list[DraRegistered] = []
        self.health: dict[tuple[str, str, str], DraHealth] = {}
        """By driver, pool and device."""
        self.reports = 0
        """Messages of all health streams."""
        self.health_services = _HEALTH_1_37 if health_v1 else _HEALTH_1_36
        self._plugins: dict[str, list[_Plugin]] = {}
        self._wipes: dict[str, threading.Timer] = {}

    def begin(self) -> None:
        """A life of the kubelet begins: no driver is known, the node's slices are deleted."""
        self.wipe("")

    def end(self) -> None:
        """It ends: so do all connections."""
        with self.changed:
            plugins = [plugin for each in self._plugins.values() for plugin in each]
            self._plugins.clear()
            self.health.clear()
            timers = tuple(self._wipes.values())
            self._wipes.clear()
            self.changed.notify_all()
        for timer in timers:
            timer.cancel()
        for plugin in plugins:
            plugin.close()

    def register(self, driver: str, endpoint: Path, versions: Iterable[str]) -> str:
        """Register a plugin; the reason of a refusal."""
        offered = frozenset(versions)
        service = next((one for one in _SERVICES if one in offered), "")
        health = next((one for one in self.health_services if one in offered), "")
        error = ""
        with self.changed:
            plugins = self._plugins.setdefault(driver, [])
            if not service:
                error = f"none of the services {sorted(offered)} is supported by kubelet"
            elif any(plugin.endpoint == endpoint for plugin in plugins):
                error = f"endpoint {endpoint} already registered for DRA driver plugin {driver}"
            else:
                plugins.append(_Plugin(driver, endpoint, service, health, self))
            self.registrations.append(DraRegistered(monotonic(), driver, endpoint.name, error))
            self._sync(driver)
        return error

    def deregister(self, driver: str, endpoint: Path) -> None:
        """Forget a plugin whose socket has gone."""
        with self.changed:
            plugins = self._plugins.get(driver, [])
            gone = [plugin for plugin in plugins if plugin.endpoint == endpoint]
            self._plugins[driver] = [plugin for plugin in plugins if plugin not in gone]
            self._sync(driver)
        for plugin in gone:
            plugin.close()

    def endpoints(self, driver: str) -> tuple[str, ...]:
        """The names of a driver's connected sockets, the newest last."""
        with self.changed:
            plugins = self._plugins.get(driver, ())
            return tuple(plugin.endpoint.name for plugin in plugins if plugin.connected)

    def prepare(
        self, driver: str, claims: Iterable[Claim], deadline_s: float = CALL_DEADLINE_S
    ) -> Mapping[str, DraAnswer]:
        """NodePrepareResources; the answers by UID. LookupError without a plugin."""
        wanted = tuple(claims)
        request = pb.NodePrepareResourcesRequest(claims=map(_message, wanted))
        raw = self._asked(driver).call(
            "NodePrepareResources", request.SerializeToString(), deadline_s
        )
        response = pb.NodePrepareResourcesResponse.FromString(raw)
        return {
            claim.uid: _answer(response.claims[claim.uid])
            if claim.uid in response.claims
            else DraAnswer(error="the driver's answer lacks the claim")
            for claim in wanted
        }

    def unprepare(
        self, driver: str, claims: Iterable[Claim], deadline_s: float = CALL_DEADLINE_S
    ) -> Mapping[str, str]:
        """NodeUnprepareResources; the errors by UID, empty ones where it is done."""
        wanted = tuple(claims)
        request = pb.NodeUnprepareResourcesRequest(claims=map(_message, wanted))
        raw = self._asked(driver).call(
            "NodeUnprepareResources", request.SerializeToString(), deadline_s
        )
        response = pb.NodeUnprepareResourcesResponse.FromString(raw)
        return {
            claim.uid: response.claims[claim.uid].error
            if claim.uid in response.claims
            else "the driver's answer lacks the claim"
            for claim in wanted
        }

    def connection_changed(self, driver: str) -> None:
        """A connection was made, or has ended."""
        with self.changed:
            self._sync(driver)

    def health_reported(self, driver: str, response: health_pb.NodeWatchResourcesResponse) -> None:
        """A message of a health stream came."""
        now = monotonic()
        with self.changed:
            self.reports += 1
            for one in response.devices:
                key = driver, one.device.pool_name, one.device.device_name
                self.health[key] = DraHealth(
                    health_pb.HealthStatus.Name(one.health),
                    one.message,
                    now,
                    one.health_check_timeout_seconds or HEALTH_TIMEOUT_S,
                )
            self.changed.notify_all()

    def comes(self, condition: Callable[["DraPlugins"], object], deadline_s: float) -> bool:
        """Wait; True if the condition held in time."""
        with self.changed:
            return self.changed.wait_for(lambda: bool(condition(self)), deadline_s)

    def _asked(self, driver: str) -> _Plugin:
        with self.changed:
            plugins = self._plugins.get(driver, [])
            if not plugins:
                raise LookupError(f"DRA driver {driver} is not registered")
            connected = [plugin for plugin in plugins if plugin.connected]
            return (connected or plugins)[-1]

    def _sync(self, driver: str) -> None:
        """Delete the driver's slices later, unless one of its sockets is connected by then."""
        self.changed.notify_all()
        if any(plugin.connected for plugin in self._plugins.get(driver, ())):
            if timer := self._wipes.pop(driver, None):
                timer.cancel()
        elif driver not in self._wipes:
            timer = threading.Timer(self.wiping_delay_s, self._wipe_driver, (driver,))
            timer.daemon = True
            self._wipes[driver] = timer
            timer.start()

    def _wipe_driver(self, driver: str) -> None:
        with self.changed:
            if self._wipes.pop(driver, None) is None:
                return  # it is connected again, or this life has ended
        self.wipe(driver)
        with self.changed:
            self.changed.notify_all()


def _message(claim: Claim) -> pb.Claim:
    return pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)


def _answer(response: pb.NodePrepareResourceResponse) -> DraAnswer:
    return DraAnswer(
        tuple(
            DraDevice(
                tuple(device.request_names),
                device.pool_name,
                device.device_name,
                tuple(device.cdi_device_ids),
            )
            for device in response.devices
        ),
        response.error,
    )

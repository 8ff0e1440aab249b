"""How a simulated kubelet comes to know a plugin: by Register, or by its socket in a folder.

Kubernetes: pkg/kubelet/cm/devicemanager/plugin/v1beta1 (server.go, handler.go, client.go) and
pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

import grpc

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as watched
from tests.sim.kubelet_book import Book
from tests.sim.kubelet_names import is_extended_resource
from tests.sim.kubelet_records import RegistrationPath
from tests.sim.plugin_client import PluginClient
from tests.sim.rpc import WATCHED, channel_to, code_of, unary

VERSION: Final = "v1beta1"
PLUGIN_KIND: Final = "DevicePlugin"
RETRY_FIRST_S: Final = 0.5
"""The watcher's first back-off after a failed registration; it doubles (goroutinemap)."""
RETRY_MOST_S: Final = 122.0


class Dialling(Enum):
    """When a plugin that called Register is dialled back: it has to serve before that.

    One that the watcher found is dialled, then told: in every kubelet.
    """

    AFTER_ANSWER = auto()
    """Before 1.25: Register answers, then the plugin is dialled; a dial that fails is told to
    nobody. The options are those of Register."""
    BEFORE_ANSWER = auto()
    """Inside Register; a plugin that can't be dialled in 10 s is refused. It is asked for its
    options."""


@dataclass
class Knobs:
    """What a test makes the kubelet do wrong; changed at any time."""

    refusal: str | None = None
    """While set, registrations on both paths are refused with this text."""
    dials: bool = True
    """While False, registrations are taken and the plugin is never dialled."""
    dial_deadline_s: float = 10.0
    """The kubelet's limit for a dial (devicemanager/plugin/v1beta1/client.go)."""


class Refused(Exception):
    """A registration that the kubelet does not take."""


class Admission:
    """One life of the kubelet: the plugins that it takes, until it is closed."""

    def __init__(self, book: Book, folder: Path, dialling: Dialling, knobs: Knobs) -> None:
        """``folder`` holds the sockets of plugins that call Register."""
        self._book = book
        self._folder = folder
        self._dialling = dialling
        self._knobs = knobs
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._paused = False
        self._clients: list[PluginClient] = []
        self._channels: set[grpc.Channel] = set()
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """End every connection and wait for every thread."""
        with self._lock:
            self._closed.set()
            clients, channels = tuple(self._clients), tuple(self._channels)
        for client in clients:
            client.close()
        for channel in channels:
            channel.close()
        for thread in self._threads:
            thread.join()

    def register(self, request: pb.RegisterRequest, context: grpc.ServicerContext) -> pb.Empty:
        """The Registration service's only method."""
        resource, endpoint = request.resource_name, request.endpoint
        path: RegistrationPath = "kubelet-sock"
        try:
            self._check(resource, (request.version,))
            if self._dialling is Dialling.BEFORE_ANSWER:
                self._admit(resource, self._folder / endpoint, path, [])
        except Refused as refusal:
            self._book.registered(resource, endpoint, path, str(refusal))
            # Go's gRPC makes UNKNOWN of an error that names no code.
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        offers = tuple(field.name for field, value in request.options.ListFields() if value)
        self._book.registered(resource, endpoint, path, offers=offers)
        if self._dialling is Dialling.AFTER_ANSWER:
            self._later(resource, self._folder / endpoint, path)
        return pb.Empty()

    def found(self, socket: Path, gone: threading.Event) -> None:
        """The plugin watcher found a socket: register its plugin, again and again until it works.

        When its socket is gone it is deregistered, whatever that means to this kubelet.
        """
        clients: list[PluginClient] = []
        retry_s = RETRY_FIRST_S
        while not self._greet(socket, clients):
            if gone.wait(retry_s) or self._closed.is_set():
                return
            retry_s = min(2 * retry_s, RETRY_MOST_S)
        gone.wait()
        for client in clients:
            ended = self._book.to_deregister(client)
            if ended is not None:
                ended.close_stream()

    def pause(self) -> None:
        """No reader takes a further message."""
        with self._lock:
            self._paused = True
            for client in self._clients:
                client.reading.clear()

    def resume(self) -> None:
        """They do again."""
        with self._lock:
            self._paused = False
            for client in self._clients:
                client.reading.set()

    def _greet(self, socket: Path, clients: list[PluginClient]) -> bool:
        """GetInfo, NotifyRegistrationStatus and the dial; whether the plugin was taken."""
        path: RegistrationPath = "plugin-watcher"
        try:
            with self._channel(socket) as channel:
                info = unary(channel, WATCHED, "GetInfo", watched.PluginInfo)(
                    watched.InfoRequest(), timeout=self._knobs.dial_deadline_s, wait_for_ready=True
                )
                endpoint = Path(info.endpoint or socket)
                answer = watched.RegistrationStatus(plugin_registered=True)
                try:
                    self._check(info.name, tuple(info.supported_versions), kind=info.type)
                    self._admit(info.name, endpoint, path, clients)
                except Refused as refusal:
                    answer = watched.RegistrationStatus(error=str(refusal))
                self._book.registered(info.name, endpoint.name, path, answer.error)
                unary(
                    channel, WATCHED, "NotifyRegistrationStatus", watched.RegistrationStatusResponse
                )(answer, timeout=self._knobs.dial_deadline_s)
        except (grpc.RpcError, Refused):
            return False
        return answer.plugin_registered

    def _check(self, resource: str, versions: tuple[str, ...], kind: str = PLUGIN_KIND) -> None:
        if kind != PLUGIN_KIND:
            raise Refused(f"no handler registered for plugin type {kind!r}")
        if VERSION not in versions:
            raise Refused(f"requested API version {versions} is not supported by kubelet")
        if not is_extended_resource(resource):
            raise Refused(f"the ResourceName {resource!r} is invalid")
        if self._knobs.refusal is not None:
            raise Refused(self._knobs.refusal)

    def _later(self, resource: str, socket: Path, path: RegistrationPath) -> None:
        def dial() -> None:
            with suppress(Refused):
                self._admit(resource, socket, path, [])

        thread = threading.Thread(target=dial, name=f"dial {socket.name}", daemon=True)
        with self._lock:
            if not self._closed.is_set():
                self._threads.append(thread)
                thread.start()

    def _admit(
        self, resource: str, socket: Path, path: RegistrationPath, clients: list[PluginClient]
    ) -> None:
        """Dial the plugin and open its stream; Refused where that can't be."""
        if not self._knobs.dials:
            return
        client = PluginClient(resource, socket, path)
        if self._book.holds(client):
            client.close()
            return
        with self._lock:
            self._clients.append(client)
            closed = self._closed.is_set()
            if self._paused:
                client.reading.clear()
        try:
            if closed:
                raise Refused("the kubelet is going down")
            if path == "kubelet-sock" and self._dialling is Dialling.AFTER_ANSWER:
                client.connect(self._knobs.dial_deadline_s)
            else:
                client.dial(self._knobs.dial_deadline_s)
        except (grpc.RpcError, ValueError) as error:
            # ValueError: the channel was closed meanwhile.
            raise Refused(f"failed to dial device plugin: {code_of(error)}") from error
        replaced = self._book.connected(client)
        with self._lock:
            if self._closed.is_set():
                raise Refused("the kubelet is going down")
            client.watch(self._book)
        clients.append(client)
        for old in replaced:
            old.close()

    @contextmanager
    def _channel(self, socket: Path) -> Iterator[grpc.Channel]:
        """A channel that ends with this life of the kubelet, whatever waits on it."""
        channel = channel_to(socket)
        with self._lock:
            self._channels.add(channel)
            if self._closed.is_set():
                channel.close()
        try:
            yield channel
        except ValueError as error:
            raise Refused("the kubelet is going down") from error
        finally:
            with self._lock:
                self._channels.discard(channel)
            channel.close()

"""How a simulated kubelet comes to know a plugin: by Register, or by its socket in a folder.

Kubernetes: pkg/kubelet/cm/devicemanager/plugin/v1beta1 (server.go, handler.go, client.go) and
pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as watched
from tests.sim.kubelet_book import Book, Keeping
from tests.sim.kubelet_dra import PLUGIN_KIND as DRA_KIND
from tests.sim.kubelet_dra import DraPlugins
from tests.sim.kubelet_names import is_extended_resource
from tests.sim.kubelet_records import RegistrationPath
from tests.sim.plugin_client import PluginClient
from tests.sim.rpc import WATCHED, channel_to, code_of, unary

VERSION: Final = "v1beta1"
PLUGIN_KIND: Final = "DevicePlugin"
RETRY_FIRST_S: Final = 0.5
"""The watcher's first back-off after a failed registration; it doubles (goroutinemap)."""
RETRY_MOST_S: Final = 122.0


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

    def __init__(self, book: Book, folder: Path, knobs: Knobs, dra: DraPlugins) -> None:
        """``folder`` holds the sockets of plugins that call Register."""
        self._book = book
        self._dra = dra
        self._folder = folder
        self._knobs = knobs
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._paused = False
        self._clients: list[PluginClient] = []
        self._channels: set[grpc.Channel] = set()

    def close(self) -> None:
        """End every connection; the book has all of them when this returns."""
        with self._lock:
            self._closed.set()
            clients, channels = tuple(self._clients), tuple(self._channels)
        for client in clients:
            client.close()
        for channel in channels:
            channel.close()

    def register(self, request: pb.RegisterRequest, context: grpc.ServicerContext) -> pb.Empty:
        """The Registration service's only method."""
        resource, endpoint = request.resource_name, request.endpoint
        path: RegistrationPath = "kubelet-sock"
        try:
            self._check(resource, (request.version,))
            self._admit(resource, self._folder / endpoint, path)
        except Refused as refusal:
            self._book.registered(resource, endpoint, path, str(refusal))
            # Go's gRPC makes UNKNOWN of an error that names no code.
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        self._book.registered(resource, endpoint, path)
        return pb.Empty()

    def found(self, socket: Path, gone: threading.Event) -> None:
        """The plugin watcher found a socket: register its plugin, again and again until it works.

        When its socket is gone it is deregistered, whatever that means to this kubelet.
        """
        retry_s = RETRY_FIRST_S
        while (forget := self._greet(socket)) is None:
            if gone.wait(retry_s) or self._closed.is_set():
                return
            retry_s = min(2 * retry_s, RETRY_MOST_S)
        gone.wait()
        if not self._closed.is_set():
            forget()

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

    def _greet(self, socket: Path) -> Callable[[], None] | None:
        """GetInfo, the dial and NotifyRegistrationStatus.

        Returns:
            how the plugin is forgotten, or None if it is to be tried again. Before 1.36
            (kubernetes PR 133335) a plugin that has no mistake in GetInfo is tried once.
        """
        tried: Callable[[], None] | None = None
        try:
            with self._channel(socket) as channel:
                info = unary(channel, WATCHED, "GetInfo", watched.PluginInfo)(
                    watched.InfoRequest(), timeout=self._knobs.dial_deadline_s, wait_for_ready=True
                )
                endpoint = Path(info.endpoint or socket)
                answer = watched.RegistrationStatus(plugin_registered=True)
                try:
                    if info.type == DRA_KIND:
                        tried = partial(self._dra.deregister, info.name, endpoint)
                        self._admit_driver(info, endpoint)
                    else:
                        self._check(info.name, tuple(info.supported_versions), kind=info.type)
                        tried = partial(self._book.deregister, info.name, endpoint)
                        self._admit(info.name, endpoint, "plugin-watcher")
                except Refused as refusal:
                    answer = watched.RegistrationStatus(error=str(refusal))
                if info.type != DRA_KIND:
                    self._book.registered(info.name, endpoint.name, "plugin-watcher", answer.error)
                unary(
                    channel, WATCHED, "NotifyRegistrationStatus", watched.RegistrationStatusResponse
                )(answer, timeout=self._knobs.dial_deadline_s)
                if answer.plugin_registered:
                    return tried
        except grpc.RpcError:
            if tried is not None and self._book.keeping is Keeping.PER_SOCKET:
                tried()
        except Refused:
            return None
        return tried if self._book.keeping is Keeping.PER_NAME else None

    def _admit_driver(self, info: watched.PluginInfo, endpoint: Path) -> None:
        error = self._knobs.refusal or self._dra.register(
            info.name, endpoint, tuple(info.supported_versions)
        )
        if error:
            raise Refused(error)

    def _check(self, resource: str, versions: tuple[str, ...], kind: str = PLUGIN_KIND) -> None:
        if kind != PLUGIN_KIND:
            raise Refused(f"no handler registered for plugin type {kind!r}")
        if VERSION not in versions:
            raise Refused(f"requested API version {versions} is not supported by kubelet")
        if not is_extended_resource(resource):
            raise Refused(f"the ResourceName {resource!r} is invalid")
        if self._knobs.refusal is not None:
            raise Refused(self._knobs.refusal)

    def _admit(self, resource: str, socket: Path, path: RegistrationPath) -> None:
        """Dial the plugin and open its stream; Refused where that can't be (connectClient)."""
        if not self._knobs.dials:
            return
        client = PluginClient(resource, socket, path)
        with self._lock:
            self._clients.append(client)
            closed = self._closed.is_set()
            if self._paused:
                client.reading.clear()
        self._book.dialling(client)
        error = "the kubelet is going down" if closed else self._dial(client)
        if not error and not self._book.connected(client):
            error = f"device plugin already connected: {socket}"
        if error:
            self._book.undialled(client)
            client.close()
            raise Refused(error)
        with self._lock:
            if self._closed.is_set():
                raise Refused("the kubelet is going down")
            client.watch(self._book)

    def _dial(self, client: PluginClient) -> str:
        """Why that can't be; empty where it could."""
        try:
            client.dial(self._knobs.dial_deadline_s)
        except (grpc.RpcError, ValueError) as error:
            # ValueError: the channel was closed meanwhile.
            return f"failed to dial device plugin: {code_of(error)}"
        return ""

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

"""The kubelet's end of one connection to a device plugin."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.kubelet_records import RegistrationPath, SeenDevice, devices_of
from tests.sim.rpc import DEVICE_PLUGIN, channel_to, stream, unary

Reply = TypeVar("Reply", bound=Message)


class Listener(Protocol):
    """Who is told of a connection's stream; called from the connection's own thread."""

    def opened(self, client: "PluginClient") -> None:
        """ListAndWatch was called."""

    def listed(self, client: "PluginClient", devices: Mapping[str, SeenDevice]) -> None:
        """A message came."""

    def closed(self, client: "PluginClient", code: str) -> None:
        """The stream ended; it is not opened again."""


class PluginClient:
    """A dialled plugin: its options, its stream in a thread, calls."""

    def __init__(self, resource: str, socket: Path, path: RegistrationPath) -> None:
        self.resource = resource
        self.socket = socket
        self.path = path
        self.reading = threading.Event()
        """Cleared while the reader shall take no further message from its stream."""
        self.reading.set()
        self._channel = channel_to(socket)
        self._thread: threading.Thread | None = None
        self._watch: grpc.Call | None = None
        self._ended = False

    @property
    def endpoint(self) -> str:
        """The socket's file name."""
        return self.socket.name

    def dial(self, deadline_s: float) -> pb.DevicePluginOptions:
        """Connect and ask for the options; grpc.RpcError if that can't be."""
        return unary(
            self._channel, DEVICE_PLUGIN, "GetDevicePluginOptions", pb.DevicePluginOptions
        )(pb.Empty(), timeout=deadline_s, wait_for_ready=True)

    def call(self, method: str, request: Message, reply: type[Reply], deadline_s: float) -> Reply:
        """Call one of the plugin's methods."""
        return unary(self._channel, DEVICE_PLUGIN, method, reply)(request, timeout=deadline_s)

    def watch(self, listener: Listener) -> None:
        """Open the ListAndWatch stream and read it in a thread of its own."""
        watch = stream(self._channel, DEVICE_PLUGIN, "ListAndWatch", pb.ListAndWatchResponse)(
            pb.Empty()
        )
        self._watch = watch
        if self._ended:
            watch.cancel()
        listener.opened(self)

        def read() -> None:
            code = "OK"
            try:
                self.reading.wait()
                for response in watch:
                    listener.listed(self, devices_of(response))
                    self.reading.wait()
            except grpc.RpcError:
                code = watch.code().name
            listener.closed(self, code)

        self._thread = threading.Thread(target=read, name=f"watch {self.endpoint}", daemon=True)
        self._thread.start()

    def close_stream(self) -> None:
        """End the stream from the kubelet's side."""
        self._ended = True
        self.reading.set()
        if self._watch is not None:
            self._watch.cancel()

    def close(self) -> None:
        """End the stream and the connection; the listener heard all when this returns."""
        self.close_stream()
        self._channel.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

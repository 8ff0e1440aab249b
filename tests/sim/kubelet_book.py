"""What a simulated kubelet knows of its plugins: connections, devices, and all that happened."""

import threading
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from time import monotonic

import msgspec

from tests.sim.kubelet_records import (
    Closed,
    Listed,
    Opened,
    Record,
    Registered,
    RegistrationPath,
    Resource,
    SeenDevice,
)
from tests.sim.plugin_client import PluginClient


class Keeping(Enum):
    """How a kubelet keeps several registrations of a resource; the newest one is asked."""

    PER_SOCKET = auto()
    """Since 1.37 (kubernetes PR 135437): one a socket path. When one ends, a remaining one is
    asked; the list stays what the last message of any of them said. The end of the last one makes
    all devices unhealthy. A path that is connected is refused."""
    PER_NAME = auto()
    """Up to 1.36: one a resource. The newer replaces the older, whose stream goes on; its messages
    replace the list. The end of either stream ends the newer (runClient looks its client up by
    the resource's name), and so does a socket that leaves plugins_registry."""


class Book:
    """One kubelet's knowledge; every change is made and seen under ``changed``."""

    def __init__(self, keeping: Keeping) -> None:
        self.changed = threading.Condition()
        self.records: list[Record] = []
        self.keeping = keeping
        self._clients: dict[str, list[PluginClient]] = {}
        """The server's clients: who is disconnected when a stream ends or a socket leaves."""
        self._endpoints: dict[str, dict[Path, PluginClient]] = {}
        """The manager's endpoints by socket path, the newest last."""
        self._latest: dict[str, PluginClient] = {}
        """Who is asked; none where that one's stream has ended."""
        self._open: set[PluginClient] = set()
        """Whose messages count."""
        self._devices: dict[str, Mapping[str, SeenDevice]] = {}

    def forget(self) -> None:
        """A new life of the kubelet begins: only the records stay."""
        with self.changed:
            self._clients.clear()
            self._endpoints.clear()
            self._latest.clear()
            self._open.clear()
            self._devices.clear()
            self.changed.notify_all()

    def registered(
        self, resource: str, endpoint: str, path: RegistrationPath, error: str = ""
    ) -> None:
        """A registration was taken, or refused with ``error``."""
        self._note(Registered(monotonic(), resource, endpoint, path, error))

    def dialling(self, client: PluginClient) -> None:
        """``client`` is about to be dialled (registerClient)."""
        with self.changed:
            clients = self._clients.setdefault(client.resource, [])
            if self.keeping is Keeping.PER_NAME:
                clients.clear()
            clients.append(client)

    def undialled(self, client: PluginClient) -> None:
        """The dial failed (deregisterClient): all clients of its path are forgotten."""
        with self.changed:
            self._drop(client)

    def connected(self, client: PluginClient) -> bool:
        """Make ``client`` the endpoint (PluginConnected); False where its path is one."""
        with self.changed:
            endpoints = self._endpoints.setdefault(client.resource, {})
            if self.keeping is Keeping.PER_NAME:
                endpoints.clear()
            elif client.socket in endpoints:
                return False
            endpoints[client.socket] = client
            self._latest[client.resource] = client
            self._open.add(client)
            self._devices.setdefault(client.resource, {})
            self.changed.notify_all()
            return True

    def opened(self, client: PluginClient) -> None:
        """ListAndWatch was called."""
        self._note(Opened(monotonic(), client.resource, client.endpoint))

    def listed(self, client: PluginClient, devices: Mapping[str, SeenDevice]) -> None:
        """A message came: it replaces all that was known of the resource's devices."""
        with self.changed:
            if client in self._open:
                self._devices[client.resource] = devices
            self._note(Listed(monotonic(), client.resource, client.endpoint, devices))

    def closed(self, client: PluginClient, code: str) -> None:
        """The stream ended (runClient)."""
        with self.changed:
            self._open.discard(client)
            self.deregister(client.resource, client.socket)
            self._note(Closed(monotonic(), client.resource, client.endpoint, code))

    def deregister(self, resource: str, socket: Path) -> None:
        """Disconnect the resource's client; since 1.37 only where it is connected by ``socket``."""
        with self.changed:
            for client in tuple(self._clients.get(resource, ())):
                if self.keeping is Keeping.PER_NAME or client.socket == socket:
                    self._disconnect(client)
                    return

    def endpoint(self, resource: str, name: str | None = None) -> PluginClient | None:
        """The connection that the resource's calls go to, or the one of this name."""
        with self.changed:
            if name is None:
                return self._latest.get(resource)
            connected = self._endpoints.get(resource, {}).values()
            return next((client for client in connected if client.endpoint == name), None)

    def resources(self) -> dict[str, Resource]:
        """Every resource that was registered in this life, as the node shows it."""
        with self.changed:
            return {
                name: Resource(devices, latest.endpoint if latest else None)
                for name, devices in self._devices.items()
                for latest in (self._latest.get(name),)
            }

    def _drop(self, client: PluginClient) -> None:
        self._clients[client.resource] = [
            other
            for other in self._clients.get(client.resource, ())
            if self.keeping is Keeping.PER_SOCKET and other.socket != client.socket
        ]

    def _disconnect(self, client: PluginClient) -> None:
        self._drop(client)
        self._open.discard(client)
        client.close_stream()
        resource, endpoints = client.resource, self._endpoints.get(client.resource, {})
        if self.keeping is Keeping.PER_NAME:
            endpoints.clear()
        elif endpoints.pop(client.socket, None) is None:
            return
        if endpoints:
            self._latest[resource] = next(iter(endpoints.values()))  # Go: any of them
            return
        self._latest.pop(resource, None)
        self._devices[resource] = {
            device: msgspec.structs.replace(seen, health="Unhealthy")
            for device, seen in self._devices.get(resource, {}).items()
        }

    def _note(self, record: Record) -> None:
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()

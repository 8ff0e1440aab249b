"""What a simulated kubelet knows of its plugins: connections, devices, and all that happened."""

import threading
from collections.abc import Mapping
from enum import Enum, auto
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
    """What a kubelet does with two registrations of a resource; newest first."""

    PER_SOCKET = auto()
    """Since 1.37 (kubernetes PR 135437): both stay. The newer is asked, the older takes over when
    it ends; a socket that leaves plugins_registry ends its own connection."""
    BY_NAME = auto()
    """1.25 to 1.36: the newer is asked. The end of either ends the newer (runClient looks its
    client up by the resource's name), and so does a socket that leaves plugins_registry."""
    LATEST = auto()
    """Before (seen on 1.20): the newer is asked; the older is neither asked nor ended, and its
    messages count. Its end changes nothing. A socket that leaves plugins_registry ends the newer,
    whichever of the two it was."""
    REPLACED = auto()
    """Long ago: the newer starts, then the older is stopped."""


class Book:
    """One kubelet's knowledge; every change is made and seen under ``changed``."""

    def __init__(self, keeping: Keeping) -> None:
        self.changed = threading.Condition()
        self.records: list[Record] = []
        self._keeping = keeping
        self._clients: dict[str, list[PluginClient]] = {}
        self._latest: dict[str, PluginClient] = {}
        """Who is asked; none where that one's stream has ended."""
        self._devices: dict[str, Mapping[str, SeenDevice]] = {}
        self._last_words: dict[PluginClient, Mapping[str, SeenDevice]] = {}

    def forget(self) -> None:
        """A new life of the kubelet begins: only the records stay."""
        with self.changed:
            self._clients.clear()
            self._latest.clear()
            self._devices.clear()
            self._last_words.clear()
            self.changed.notify_all()

    def registered(
        self,
        resource: str,
        endpoint: str,
        path: RegistrationPath,
        error: str = "",
        *,
        offers: tuple[str, ...] = (),
    ) -> None:
        """A registration was taken, or refused with ``error``."""
        self._note(Registered(monotonic(), resource, endpoint, path, error, offers))

    def connected(self, client: PluginClient) -> tuple[PluginClient, ...]:
        """``client`` is the resource's endpoint from now on; the connections to end for it."""
        with self.changed:
            clients = self._clients.setdefault(client.resource, [])
            replaced = tuple(clients) if self._keeping is Keeping.REPLACED else ()
            self._clients[client.resource] = [c for c in clients if c not in replaced] + [client]
            self._latest[client.resource] = client
            self._devices.setdefault(client.resource, {})
            self.changed.notify_all()
            return replaced

    def opened(self, client: PluginClient) -> None:
        """ListAndWatch was called."""
        self._note(Opened(monotonic(), client.resource, client.endpoint))

    def listed(self, client: PluginClient, devices: Mapping[str, SeenDevice]) -> None:
        """A message came: it replaces all that was known of the resource's devices."""
        with self.changed:
            if client in self._clients.get(client.resource, ()):
                self._devices[client.resource] = devices
                self._last_words[client] = devices
            self._note(Listed(monotonic(), client.resource, client.endpoint, devices))

    def closed(self, client: PluginClient, code: str) -> None:
        """The stream ended: an older connection takes over, or all devices are unhealthy."""
        with self.changed:
            clients = self._clients.get(client.resource, [])
            if client in clients:
                clients.remove(client)
                self._last_words.pop(client, None)
                latest = self._latest.get(client.resource)
                if client is latest:
                    self._succeed(client.resource, clients)
                elif latest is not None and self._keeping is Keeping.BY_NAME:
                    latest.close_stream()
            self._note(Closed(monotonic(), client.resource, client.endpoint, code))

    def to_deregister(self, client: PluginClient) -> PluginClient | None:
        """Whose connection ends when a client's socket has left plugins_registry."""
        if self._keeping in {Keeping.BY_NAME, Keeping.LATEST}:
            return self.endpoint(client.resource)
        return client

    def endpoint(self, resource: str) -> PluginClient | None:
        """The connection that the resource's calls go to."""
        with self.changed:
            return self._latest.get(resource)

    def holds(self, other: PluginClient) -> bool:
        """Whether the resource is connected by the very same socket, and both may stay."""
        with self.changed:
            return self._keeping is Keeping.PER_SOCKET and any(
                (client.socket, client.file) == (other.socket, other.file)
                for client in self._clients.get(other.resource, ())
            )

    def resources(self) -> dict[str, Resource]:
        """Every resource that was registered in this life, as the node shows it."""
        with self.changed:
            return {
                name: Resource(devices, latest.endpoint if latest else None)
                for name, devices in self._devices.items()
                for latest in (self._latest.get(name),)
            }

    def _succeed(self, resource: str, survivors: list[PluginClient]) -> None:
        del self._latest[resource]
        if survivors and self._keeping is Keeping.PER_SOCKET:
            self._latest[resource] = survivors[-1]
            self._devices[resource] = self._last_words.get(survivors[-1], {})
            return
        self._devices[resource] = {
            device: msgspec.structs.replace(seen, health="Unhealthy")
            for device, seen in self._devices.get(resource, {}).items()
        }

    def _note(self, record: Record) -> None:
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()

"""What a simulated kubelet saw, in order, with monotonic times in seconds."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

RegistrationPath = Literal["kubelet-sock", "plugin-watcher"]


class SeenDevice(msgspec.Struct, frozen=True):
    """A device of a ListAndWatch message."""

    health: str
    numa: tuple[int, ...]
    """NUMA nodes; empty where the device came without topology."""


class Registered(msgspec.Struct, frozen=True):
    """A plugin asked to be registered, or was found by the plugin watcher."""

    at: float
    resource: str
    endpoint: str
    """The socket's file name."""
    path: RegistrationPath
    error: str = ""
    """Why it was refused; empty where it was taken."""


class Opened(msgspec.Struct, frozen=True):
    """The kubelet called ListAndWatch."""

    at: float
    resource: str
    endpoint: str


class Listed(msgspec.Struct, frozen=True):
    """A ListAndWatch message."""

    at: float
    resource: str
    endpoint: str
    devices: Mapping[str, SeenDevice]


class Closed(msgspec.Struct, frozen=True):
    """A ListAndWatch stream ended."""

    at: float
    resource: str
    endpoint: str
    code: str
    """gRPC's name of the status; CANCELLED where the kubelet ended it."""


Record = Registered | Opened | Listed | Closed


class Resource(msgspec.Struct, frozen=True):
    """A resource as the node shows it."""

    devices: Mapping[str, SeenDevice] = {}
    endpoint: str | None = None
    """The socket that calls go to; None where no plugin is connected."""

    @property
    def capacity(self) -> int:
        """All devices."""
        return len(self.devices)

    @property
    def allocatable(self) -> int:
        """The healthy ones."""
        return sum(device.health == "Healthy" for device in self.devices.values())


def devices_of(response: pb.ListAndWatchResponse) -> dict[str, SeenDevice]:
    """A message's devices by ID; as in the kubelet, the last of two equal IDs counts."""
    return {
        device.ID: SeenDevice(device.health, tuple(node.ID for node in device.topology.nodes))
        for device in response.devices
    }


def in_words(records: Iterable[Record], since: float) -> str:
    """One line a record, for the message of a failed test."""
    return "\n".join(f"  +{record.at - since:.3f} s {_say(record)}" for record in records)


def _say(record: Record) -> str:
    where = f"{record.resource} at {record.endpoint}"
    match record:
        case Registered():
            return f"{where} registered by {record.path}" + (
                f", refused: {record.error}" if record.error else ""
            )
        case Opened():
            return f"{where}: stream opened"
        case Closed():
            return f"{where}: stream ended with {record.code}"
        case Listed():
            sick = sorted(name for name, seen in record.devices.items() if seen.health != "Healthy")
            return f"{where}: {len(record.devices)} devices" + (
                f", not healthy: {', '.join(sick[:8])}" if sick else ""
            )

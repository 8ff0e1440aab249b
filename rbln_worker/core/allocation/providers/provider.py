"""The interface of providers: input, output and common helpers."""

from collections.abc import Callable, Mapping

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import HostFacts, Need


class DeviceNode(msgspec.Struct, frozen=True):
    """A device node, always with permissions ``rw``; paths of the host and of the container."""

    host: str
    container: str


class Mount(msgspec.Struct, frozen=True):
    """A read-only bind mount of a file of the host."""

    host: str
    container: str


class ContainerEdits(msgspec.Struct, frozen=True):
    """Nodes, mounts and keys for the container, and faults if it could not use the device."""

    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    info: Mapping[str, Mapping[str, str]] = {}
    """Sections of the ``_INFO`` variable: section → key → value."""
    faults: tuple[str, ...] = ()
    """Reasons why a container could not use the device."""
    busy: str = ""
    """The reason why a healthy device can't be allocated now, such as use by a container."""


class ProviderInput(msgspec.Struct, frozen=True):
    """The input of a provider."""

    device: Device
    pool: PoolSpec
    facts: HostFacts


def no_reads(_: Device) -> tuple[Need, ...]:
    """Return no reads, for providers that require none."""
    return ()


class Provider(msgspec.Struct, frozen=True):
    """A provider: one kind of access to a device."""

    applies_to: Callable[[Device, PoolSpec], bool]
    """A test that is True if the provider applies to a device of the pool."""
    container_edits: Callable[[ProviderInput], ContainerEdits]
    required_reads: Callable[[Device], tuple[Need, ...]] = no_reads
    """A function that returns the reads that ``container_edits`` requires."""


def same_path(path: str) -> DeviceNode:
    """Return a node with the same path on the host and in the container."""
    return DeviceNode(host=path, container=path)


def pci_sysfs_dir(device: Device) -> str:
    """Return the sysfs folder of a device's PCI function (an auxiliary device's parent)."""
    return f"/sys/bus/pci/devices/{device.function.bdf}"


def sysfs_dir(device: Device) -> str:
    """Return the sysfs folder of the device itself."""
    if device.subfunction is not None:
        return f"/sys/bus/auxiliary/devices/{device.subfunction.name}"
    return pci_sysfs_dir(device)


def shorten_reason(why: str, device: Device) -> str:
    """Return a reason without the sysfs folder of the device's function, which is known."""
    return why.replace(f"{pci_sysfs_dir(device)}/", "")

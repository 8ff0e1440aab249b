"""What a provider is, what it is asked, and what it puts into a container."""

from collections.abc import Callable, Mapping

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.facts import Facts, Need


class Node(msgspec.Struct, frozen=True):
    """A device node, always with permissions ``rw``; paths are the host's and the container's."""

    host: str
    container: str


class Mount(msgspec.Struct, frozen=True):
    """A read-only bind mount of a file of the host's."""

    host: str
    container: str


class Offer(msgspec.Struct, frozen=True):
    """Nodes, mounts and keys for the container; or faults, where it could not use the device."""

    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    info: Mapping[str, Mapping[str, str]] = {}
    """Sections of the ``_INFO`` variable: section → key → value."""
    faults: tuple[str, ...] = ()
    """Why a container that got this device could not use it."""
    away: str = ""
    """Why a device that is in order can't be given out now: a container has it, say."""


class Question(msgspec.Struct, frozen=True):
    """All that a provider is told."""

    device: Device
    pool: PoolSpec
    facts: Facts


def no_needs(_: Device) -> tuple[Need, ...]:
    """For providers that have to read nothing."""
    return ()


class Provider(msgspec.Struct, frozen=True):
    """One kind of access to a device."""

    carried: Callable[[Device, PoolSpec], bool]
    """Whether a device of a pool is accessed in this way."""
    offer: Callable[[Question], Offer]
    needs: Callable[[Device], tuple[Need, ...]] = no_needs
    """What has to be read of a device before ``offer`` can be asked."""


def same_path(path: str) -> Node:
    """A node with the same path on both sides."""
    return Node(host=path, container=path)


def pci_home(device: Device) -> str:
    """The directory of a device's PCI function (an auxiliary device's parent)."""
    return f"/sys/bus/pci/devices/{device.function.bdf}"


def home(device: Device) -> str:
    """The directory of the device itself."""
    if device.subfunction is not None:
        return f"/sys/bus/auxiliary/devices/{device.subfunction.name}"
    return pci_home(device)


def brief(why: str, device: Device) -> str:
    """A reason without the directory of the device's function, which its readers know."""
    return why.replace(f"{pci_home(device)}/", "")

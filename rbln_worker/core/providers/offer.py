"""What one provider puts into a container."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.facts import Facts


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


class Question(msgspec.Struct, frozen=True):
    """All that a provider is told."""

    device: Device
    pool: PoolSpec
    facts: Facts


def same_path(path: str) -> Node:
    """A node with the same path on both sides."""
    return Node(host=path, container=path)

"""What a worker has to know of its resource pool."""

from collections.abc import Mapping
from typing import Literal, NewType

import msgspec

from rbln_worker.contract.health import HealthPolicy

PoolName = NewType("PoolName", str)
"""The extended resource's whole name, ``prefix/name``, as pods ask for it."""

DeviceType = str
"""A configuration's word for a type of device: a key of the supervisor's registry of types."""

Preferring = Literal["", "topology", "packed", "spread", "none"]
"""A policy for preferred allocations; empty: topology for the products that it is known of."""


class PoolSpec(msgspec.Struct, frozen=True):
    """One resource pool, without its selectors: which devices it owns is the supervisor's word."""

    prefix: str
    """The resource's DNS name, such as ``rebellions.ai``."""
    resource: str
    """The resource's name below its prefix, such as ``ATOM``."""
    device_type: DeviceType
    exclude_topology: bool = False
    """Advertise no NUMA node."""
    allow_cross_numa: bool = False
    """A preferred allocation may span NUMA nodes where one has too few devices."""
    preferred_allocation: Preferring = ""
    additional_info: Mapping[str, Mapping[str, str]] | None = None
    """More keys for containers: ``*`` or a device ID → key → value; None where not configured."""
    health: HealthPolicy = HealthPolicy()
    iommufd: bool = False
    """Devices on vfio come with their character device, too, where the kernel has it."""

    @property
    def name(self) -> PoolName:
        """The resource's whole name."""
        return PoolName(f"{self.prefix}/{self.resource}")


def stem(pool: PoolName) -> str:
    """The pool's part of file names: ``prefix_name``, as the reference names its sockets."""
    return pool.replace("/", "_", 1)


def pool_of(stem: str) -> PoolName:
    """The pool of a stem: a prefix is a DNS name and has no underscore."""
    return PoolName(stem.replace("_", "/", 1))

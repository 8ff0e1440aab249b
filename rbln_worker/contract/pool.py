"""Description of a resource pool for its worker."""

from collections.abc import Mapping
from typing import Literal, NewType

import msgspec

from rbln_worker.contract.health import HealthPolicy

PoolName = NewType("PoolName", str)
"""The full name of the extended resource, ``prefix/name``, as pods request it."""

DeviceType = str
"""The device type of a pool in the configuration: a key of the supervisor's registry of types."""

Preferring = Literal["", "topology", "packed", "spread", "none"]
"""A policy for preferred allocations; empty: topology for products whose topology is known."""


class DraExport(msgspec.Struct, frozen=True):
    """Settings of a pool that is exported by Dynamic Resource Allocation (DRA)."""

    driver: str
    """The name of the DRA driver: a lower-case DNS name of at most 63 characters."""
    evict_on: tuple[str, ...] = ()
    """Sources of verdicts (``Verdict.source``) that evict pods from an unhealthy device."""


def export_text(export: DraExport | None) -> str:
    """Return how a pool is exported, in words."""
    return f"by DRA ({export.driver})" if export else "by the device-plugin API"


class PoolSpec(msgspec.Struct, frozen=True):
    """A resource pool without its selectors: the supervisor decides which devices belong to it."""

    prefix: str
    """The prefix of the resource name, a DNS name such as ``rebellions.ai``."""
    resource: str
    """The resource name below its prefix, such as ``ATOM``."""
    device_type: DeviceType
    exclude_topology: bool = False
    """True if no NUMA node is advertised."""
    allow_cross_numa: bool = False
    """True if a preferred allocation may span NUMA nodes when no single one has enough devices."""
    preferred_allocation: Preferring = ""
    additional_info: Mapping[str, Mapping[str, str]] | None = None
    """More keys for containers: ``*`` or a device ID → key → value; None if not configured."""
    health: HealthPolicy = HealthPolicy()
    iommufd: bool = False
    """True if devices on vfio come with their character device, if the kernel has it."""
    dra: DraExport | None = None
    """None: the pool is exported by the device-plugin API."""

    @property
    def name(self) -> PoolName:
        """The full resource name, ``prefix/name``."""
        return PoolName(f"{self.prefix}/{self.resource}")


def file_stem(pool: PoolName) -> str:
    """Return the pool's part of file names: ``prefix_name``, as the reference names its sockets."""
    return pool.replace("/", "_", 1)


def pool_from_stem(stem: str) -> PoolName:
    """Return the pool of a stem: a prefix is a DNS name and has no underscore."""
    return PoolName(stem.replace("_", "/", 1))

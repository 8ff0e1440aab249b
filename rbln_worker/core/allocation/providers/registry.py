"""All providers, in the order in which their nodes reach the container."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import Need
from rbln_worker.core.allocation.providers import (
    extra,
    generic,
    iommufd,
    rdma,
    rebellions,
    uio,
    vdpa,
    vfio,
    vhost_net,
)
from rbln_worker.core.allocation.providers.provider import Provider

PROVIDERS: Final[tuple[Provider, ...]] = (
    rebellions.PROVIDER,
    generic.PROVIDER,
    vfio.PROVIDER,
    iommufd.PROVIDER,
    uio.PROVIDER,
    extra.PROVIDER,
    vdpa.PROVIDER,
    rdma.PROVIDER,
    vhost_net.PROVIDER,
)


def providers_for(device: Device, pool: PoolSpec) -> tuple[Provider, ...]:
    """Return the providers of a device in a pool."""
    return tuple(provider for provider in PROVIDERS if provider.applies_to(device, pool))


def allocation_reads(device: Device, pool: PoolSpec) -> tuple[Need, ...]:
    """Return the reads that a device's providers require, each once."""
    return tuple(
        dict.fromkeys(
            need for one in providers_for(device, pool) for need in one.required_reads(device)
        )
    )

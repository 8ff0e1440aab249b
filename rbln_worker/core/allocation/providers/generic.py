"""The device's ID only, for drivers that need no node."""

from typing import Final

from rbln_worker.contract.device import REBELLIONS, Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.providers.provider import ContainerEdits, Provider, ProviderInput


def applies_to(device: Device, pool: PoolSpec) -> bool:
    """Select all devices except NPUs with a provider of their own."""
    function = device.function
    return not (
        pool.device_type == "accelerator"
        and function.vendor == REBELLIONS
        and function.driver in {"rebellions", "vfio-pci"}
    )


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the section ``generic``: a PCI address or the name of an auxiliary device."""
    return ContainerEdits(info={"generic": {"deviceID": source.device.id}})


PROVIDER: Final = Provider(applies_to, container_edits)

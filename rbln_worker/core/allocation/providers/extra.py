"""The operator's own keys, from the pool's ``additionalInfo``."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.providers.provider import ContainerEdits, Provider, ProviderInput


def applies_to(_: Device, pool: PoolSpec) -> bool:
    """Select all devices of a pool with the key, even if it is empty."""
    return pool.additional_info is not None


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the keys for all devices, overlaid by those for the PCI function and for the device.

    The two have the same name except for auxiliary devices. The section is ``extra`` in the
    reference and ``extraInfo`` in its documentation: both are there.
    """
    configured = source.pool.additional_info or {}
    device = source.device
    keys = {
        **configured.get("*", {}),
        **configured.get(device.function.bdf, {}),
        **configured.get(device.id, {}),
    }
    return ContainerEdits(info={"extra": keys, "extraInfo": keys})


PROVIDER: Final = Provider(applies_to, container_edits)

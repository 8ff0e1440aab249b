"""The operator's own keys, from the pool's ``additionalInfo``."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.providers.offer import Offer, Provider, Question


def carried(_: Device, pool: PoolSpec) -> bool:
    """Every device of a pool that has the key, be it empty."""
    return pool.additional_info is not None


def offer(question: Question) -> Offer:
    """The keys for every device, overlaid by those for its PCI function, and for itself.

    The two are one for all but auxiliary devices. The section is called ``extra`` by the reference
    and ``extraInfo`` by its documentation: both.
    """
    configured = question.pool.additional_info or {}
    device = question.device
    keys = {
        **configured.get("*", {}),
        **configured.get(device.function.bdf, {}),
        **configured.get(device.id, {}),
    }
    return Offer(info={"extra": keys, "extraInfo": keys})


PROVIDER: Final = Provider(carried, offer)

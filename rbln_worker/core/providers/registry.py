"""Which providers a device has, in the order in which their nodes reach the container."""

from collections.abc import Callable, Mapping
from typing import Final

from rbln_worker.contract.device import REBELLIONS, Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.providers import extra, generic, rebellions, vfio
from rbln_worker.core.providers.offer import Offer, Question

Provider = Callable[[Question], Offer]

_OWN: Final[Mapping[str, Provider]] = {"rebellions": rebellions.offer, "vfio-pci": vfio.offer}
"""By driver, for Rebellions' devices: these have no generic section."""

_BY_DRIVER: Final[Mapping[str, Provider]] = {"vfio-pci": vfio.offer}
"""By driver, for everybody else's: beside the generic section."""


def providers(device: Device, pool: PoolSpec) -> tuple[Provider, ...]:
    """The providers of a device in a pool."""
    function = device.function
    driver = function.driver or ""
    if function.vendor == REBELLIONS and driver in _OWN:
        found = [_OWN[driver]]
    else:
        found = [generic.offer]
        if driver in _BY_DRIVER:
            found.append(_BY_DRIVER[driver])
    if pool.additional_info is not None:
        found.append(extra.offer)
    return tuple(found)

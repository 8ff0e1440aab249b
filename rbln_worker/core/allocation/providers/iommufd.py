"""The character device of a function on vfio, for VMMs that use iommufd.

Documentation/driver-api/vfio.rst, "IOMMUFD and vfio_iommu_type1", "VFIO Device cdev".
"""

import re
from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import DirEntries, Exists, Need, Unread
from rbln_worker.core.allocation.providers import vfio
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Provider,
    ProviderInput,
    pci_home,
    same_path,
)

IOMMU: Final = "/dev/iommu"
_NAME: Final = re.compile(r"vfio[0-9]{1,6}")
_IOMMU_THERE: Final = Exists(IOMMU)


def carried(device: Device, pool: PoolSpec) -> bool:
    """Select devices on vfio, in pools with ``iommufd``."""
    return pool.iommufd and vfio.carried(device, pool)


def needs(device: Device) -> tuple[Need, ...]:
    """Return the reads: the folder with the name of the character device, and /dev/iommu."""
    return _names(device), _IOMMU_THERE


def offer(question: ProviderInput) -> ContainerEdits:
    """Offer both nodes, or none if the kernel does not have both."""
    names = question.facts.names(_names(question.device))
    found = [] if isinstance(names, Unread) else [one for one in names if _NAME.fullmatch(one)]
    if not found or not question.facts.there(_IOMMU_THERE):
        return ContainerEdits()
    path = f"/dev/vfio/devices/{found[0]}"
    return ContainerEdits(
        nodes=(same_path(path), same_path(IOMMU)),
        info={"iommufd": {"mount": IOMMU, "dev-mount": path}},
    )


def _names(device: Device) -> DirEntries:
    return DirEntries(f"{pci_home(device)}/vfio-dev")


PROVIDER: Final = Provider(carried, offer, needs)

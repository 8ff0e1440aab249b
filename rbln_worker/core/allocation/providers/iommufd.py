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
    pci_sysfs_dir,
    same_path,
)

IOMMU: Final = "/dev/iommu"
_NAME: Final = re.compile(r"vfio[0-9]{1,6}")
_IOMMU_EXISTS: Final = Exists(IOMMU)


def applies_to(device: Device, pool: PoolSpec) -> bool:
    """Select devices on vfio, in pools with ``iommufd``."""
    return pool.iommufd and vfio.applies_to(device, pool)


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the reads: the folder with the name of the character device, and /dev/iommu."""
    return _device_entries(device), _IOMMU_EXISTS


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer both nodes, or none if the kernel does not have both."""
    names = source.facts.dir_entries(_device_entries(source.device))
    found = [] if isinstance(names, Unread) else [one for one in names if _NAME.fullmatch(one)]
    if not found or not source.facts.path_exists(_IOMMU_EXISTS):
        return ContainerEdits()
    path = f"/dev/vfio/devices/{found[0]}"
    return ContainerEdits(
        nodes=(same_path(path), same_path(IOMMU)),
        info={"iommufd": {"mount": IOMMU, "dev-mount": path}},
    )


def _device_entries(device: Device) -> DirEntries:
    return DirEntries(f"{pci_sysfs_dir(device)}/vfio-dev")


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)

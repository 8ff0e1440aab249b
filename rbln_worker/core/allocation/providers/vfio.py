"""A function with a user-space driver on vfio (Documentation/driver-api/vfio.rst)."""

import re
from collections.abc import Mapping
from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import LinkPerEntry, LinkTarget, Need, Text, Unread
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    DeviceNode,
    Provider,
    ProviderInput,
    pci_sysfs_dir,
    same_path,
    shorten_reason,
)

_CONTAINER: Final = "/dev/vfio/vfio"
_LETS_DMA: Final = frozenset({"pci-stub", "pcieport"})
_VFIO: Final = re.compile(r"vfio[-_].*|.*vfio[-_]pci")
_MAX_NAMED: Final = 4
"""Maximum number of neighbours in a reason."""


def applies_to(device: Device, _: PoolSpec) -> bool:
    """Select devices bound to vfio-pci, or to a vendor's variant such as mlx5_vfio_pci."""
    return (device.function.driver or "").endswith(("vfio-pci", "vfio_pci"))


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the reads: number, name (drivers/vfio/group.c) and members of the IOMMU group."""
    return iommu_group(device), _group_name(device), _group_members(device)


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the container node, then the IOMMU group's.

    The node of a group without an IOMMU is noiommu-N on the host and N in the container, as
    applications expect. The keys are the reference's, then those that its documentation names.
    """
    number = _group_number(source.facts.text(iommu_group(source.device)))
    if isinstance(number, Unread):
        why = shorten_reason(number.why, source.device)
        return ContainerEdits(nodes=(same_path(_CONTAINER),), faults=(f"no IOMMU group ({why})",))
    name = source.facts.text(_group_name(source.device))  # ordinary groups have no name
    noiommu = isinstance(name, str) and name.strip() == "vfio-noiommu"
    inside = f"/dev/vfio/{number}"
    outside = f"/dev/vfio/noiommu-{number}" if noiommu else inside
    neighbours = source.facts.text_per_entry(_group_members(source.device))
    return ContainerEdits(
        nodes=(same_path(_CONTAINER), DeviceNode(host=outside, container=inside)),
        info={
            "vfio": {
                "mount": _CONTAINER,
                "dev-mount": inside,
                "vfio-mount": _CONTAINER,
                "vfio-dev-mount": inside,
            }
        },
        faults=() if noiommu else _not_viable(number, neighbours),
    )


def _not_viable(number: str, neighbours: Mapping[str, str]) -> tuple[str, ...]:
    """Return why a group is not available to user space: open(2) of its node fails with EBUSY.

    A driver has to leave DMA to the owner of the group (driver_managed_dma), as those of vfio,
    pci-stub and pcieport do. A member without a driver does not matter.
    """
    in_the_way = [
        f"{bdf} is bound to {driver}"
        for bdf, driver in neighbours.items()
        if driver not in _LETS_DMA and not _VFIO.fullmatch(driver)
    ]
    if not in_the_way:
        return ()
    more = len(in_the_way) - _MAX_NAMED
    named = in_the_way[:_MAX_NAMED] + ([f"and {more} more"] if more > 0 else [])
    return (f"its IOMMU group {number} is not viable: {', '.join(named)}",)


def iommu_group(device: Device) -> LinkTarget:
    """Return the link to its IOMMU group."""
    return LinkTarget(f"{pci_sysfs_dir(device)}/iommu_group")


def _group_name(device: Device) -> Text:
    return Text(f"{pci_sysfs_dir(device)}/iommu_group/name")


def _group_members(device: Device) -> LinkPerEntry:
    return LinkPerEntry(f"{pci_sysfs_dir(device)}/iommu_group/devices", "driver")


def _group_number(found: str | Unread) -> str | Unread:
    if isinstance(found, str) and not (found.isascii() and found.isdigit()):
        return Unread(f"iommu_group: expected a number, got {found[:40]!r}")
    return found


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)

"""A function that user space drives through vfio (Documentation/driver-api/vfio.rst)."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.facts import Link, Missing, Need, Text
from rbln_worker.core.providers.offer import (
    Node,
    Offer,
    Provider,
    Question,
    brief,
    pci_home,
    same_path,
)

_CONTAINER: Final = "/dev/vfio/vfio"


def carried(device: Device, _: PoolSpec) -> bool:
    """Behind vfio-pci, or a vendor's variant of it, such as mlx5_vfio_pci."""
    return (device.function.driver or "").endswith(("vfio-pci", "vfio_pci"))


def needs(device: Device) -> tuple[Need, ...]:
    """The number of its IOMMU group, and the group's name (drivers/vfio/group.c)."""
    return _group(device), _group_name(device)


def offer(question: Question) -> Offer:
    """The container node, then the IOMMU group's.

    A group without an IOMMU is called noiommu-N on the host and N inside, as applications expect.
    The keys are the reference's, then those that its documentation names.
    """
    group = _number(question.facts.text(_group(question.device)))
    if isinstance(group, Missing):
        why = brief(group.why, question.device)
        return Offer(nodes=(same_path(_CONTAINER),), faults=(f"no IOMMU group ({why})",))
    name = question.facts.text(_group_name(question.device))  # ordinary groups have none
    noiommu = isinstance(name, str) and name.strip() == "vfio-noiommu"
    inside = f"/dev/vfio/{group}"
    outside = f"/dev/vfio/noiommu-{group}" if noiommu else inside
    return Offer(
        nodes=(same_path(_CONTAINER), Node(host=outside, container=inside)),
        info={
            "vfio": {
                "mount": _CONTAINER,
                "dev-mount": inside,
                "vfio-mount": _CONTAINER,
                "vfio-dev-mount": inside,
            }
        },
    )


def _group(device: Device) -> Link:
    return Link(f"{pci_home(device)}/iommu_group")


def _group_name(device: Device) -> Text:
    return Text(f"{pci_home(device)}/iommu_group/name")


def _number(group: str | Missing) -> str | Missing:
    if isinstance(group, str) and not (group.isascii() and group.isdigit()):
        return Missing(f"iommu_group: expected a number, got {group[:40]!r}")
    return group


PROVIDER: Final = Provider(carried, offer, needs)

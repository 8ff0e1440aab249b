"""What was read of a device, before anybody judges it."""

import msgspec


class Missing(msgspec.Struct, frozen=True):
    """A fact that could not be read, and why."""

    why: str


class Facts(msgspec.Struct, frozen=True):
    """What the providers may need to know; None where a device of this driver has no such thing."""

    rbln_node: str | Missing | None = None
    """The driver's name for the NPU, such as ``rbln3``: /dev/rbln3 is its node."""
    rsd_there: bool = False
    """Whether /dev/rsd0 exists: products of the REBEL family need none."""
    tool_there: bool = True
    """False only where the host's files can be seen and rbln-stat is not among them."""
    iommu_group: str | Missing | None = None
    """The number of the function's IOMMU group."""
    noiommu: bool = False
    """The group is one of vfio's without an IOMMU (``vfio-noiommu``)."""

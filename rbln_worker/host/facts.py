"""What a device's driver and /dev say of it: read by its worker, because such files can hang."""

import os
import re
from pathlib import Path
from typing import Final

from rbln_worker.contract.device import REBELLIONS, Device, PciFunction
from rbln_worker.core.facts import Facts, Missing
from rbln_worker.host.sysfs import PCI_DEVICES, attribute

TOOL: Final = "usr/local/bin/rbln-stat"
_POOLS_FILE_BYTES: Final = 65536
_NODE_NAME: Final = re.compile(r"rbln[0-9]{1,6}")


def read(root: Path, device: Device, *, host_visible: bool) -> Facts:
    """Everything that the providers may need to know of a device, by its driver; may block.

    ``host_visible``: the host's files lie below ``root``, so that a missing tool is missing there
    and not just in our own container.
    """
    function = device.function
    tool_missing = host_visible and not os.path.exists(root / TOOL)
    match function.driver:
        case "rebellions" if function.vendor == REBELLIONS:
            return Facts(
                rbln_node=_rbln_node(root, function),
                rsd_there=_there(root, "/dev/rsd0"),
                tool_there=not tool_missing,
            )
        case "vfio-pci":
            return _vfio(root, function)
        case _:
            return Facts()


def missing_nodes(root: Path, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the host's device nodes are not there."""
    return tuple(path for path in paths if not _there(root, path))


def _there(root: Path, path: str) -> bool:
    return os.path.exists(f"{root}{path}")


def _rbln_node(root: Path, function: PciFunction) -> str | Missing:
    """The node's name from the device's ``pools`` file: the driver names a DMA pool after the node.

    The kernel lists every device's DMA pools there (mm/dmapool.c): a header (``poolinfo - 0.1``),
    then a line a pool that begins with its name, the newest first.
    """
    place = f"sys/bus/pci/drivers/rebellions/{function.bdf}/pools"
    try:
        with open(root / place, "rb") as file:
            text = file.read(_POOLS_FILE_BYTES).decode(errors="replace")
    except OSError as error:
        return Missing(f"/{place}: {error.strerror}")
    lines = text.splitlines()
    if len(lines) < 2:
        return Missing(f"/{place}: expected a second line that names the node, got {len(lines)}")
    name = lines[1].split(maxsplit=1)[0] if lines[1].strip() else ""
    # The name becomes a path that the container runtime opens as root: nothing but rblnN may.
    if not _NODE_NAME.fullmatch(name):
        return Missing(f"/{place}: expected a node name such as rbln0, got {name[:40]!r}")
    return name


def _vfio(root: Path, function: PciFunction) -> Facts:
    path = f"{root}/{PCI_DEVICES}/{function.bdf}/iommu_group"
    try:
        group = os.path.basename(os.readlink(path))
    except OSError as error:
        return Facts(iommu_group=Missing(f"iommu_group: {error.strerror}"))
    if not group.isascii() or not group.isdigit():
        return Facts(iommu_group=Missing(f"iommu_group: expected a number, got {group[:40]!r}"))
    try:
        unprotected = attribute(f"{path}/name") == "vfio-noiommu"  # drivers/vfio/group.c
    except OSError:
        unprotected = False  # ordinary groups have no name
    return Facts(iommu_group=group, noiommu=unprotected)

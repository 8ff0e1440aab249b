"""The PCI core's part of sysfs: directories of functions and bridges, as Linux lays them out.

Kernel: Documentation/ABI/testing/sysfs-bus-pci, stable/sysfs-kernel-iommu_groups. A function's
directory lies below its bridges; /sys/bus/pci/devices holds links to the directories.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tests.sim.device import SimDevice
from tests.sim.tree import Tree

DEVICES: Final = "/sys/bus/pci/devices"
DRIVERS: Final = "/sys/bus/pci/drivers"
GROUPS: Final = "/sys/kernel/iommu_groups"

BRIDGE: Final = SimDevice(
    bdf="", vendor="1000", device="c030", code="060400", driver="pcieport", numa=-1
)


def home_of(bdf: str, parents: tuple[str, ...]) -> str:
    """The directory of a function below its bridges; without bridges, on a root bus of its own."""
    domain, bus, _ = (parents[0] if parents else bdf).split(":")
    return "/".join((f"/sys/devices/pci{domain}:{bus}", *parents, bdf))


def attributes(device: SimDevice) -> Mapping[str, str | bytes]:
    """The files of a function's directory that the PCI core makes."""
    files: dict[str, str | bytes] = {
        "vendor": f"0x{device.vendor}\n",
        "device": f"0x{device.device}\n",
        "class": f"0x{device.code}\n",
        "modalias": f"{device.modalias}\n",
        "numa_node": f"{device.numa}\n",
        "config": device.config_space(),
        "uevent": uevent_text(device),
        "current_link_speed": "32.0 GT/s PCIe\n",
        "max_link_speed": "32.0 GT/s PCIe\n",
        "current_link_width": "16\n",
        "max_link_width": "16\n",
        "aer_dev_fatal": "Undefined 0\nDLP 0\nSDES 0\nTLP 0\nTOTAL_ERR_FATAL 0\n",
    }
    if device.acpi_index is not None:
        files["acpi_index"] = f"{device.acpi_index}\n"
    if device.totalvfs is not None:
        files["sriov_totalvfs"] = f"{device.totalvfs}\n"
        files["sriov_numvfs"] = "0\n"
    return files


def uevent_text(device: SimDevice) -> str:
    """The variables that the kernel sends with the function's events."""
    driver = f"DRIVER={device.driver}\n" if device.driver is not None else ""
    ids = f"{device.vendor.upper()}:{device.device.upper()}"
    code = f"{int(device.code, 16):04X}"  # pci_uevent() prints no leading zeros beyond these
    return (
        f"{driver}PCI_CLASS={code}\nPCI_ID={ids}\nPCI_SUBSYS_ID=0000:0000\n"
        f"PCI_SLOT_NAME={device.bdf}\nMODALIAS={device.modalias}\n"
    )


def add_bridges(tree: Tree, parents: tuple[str, ...]) -> None:
    """The bridges above a function, those that aren't there yet."""
    for depth, bdf in enumerate(parents):
        if tree.at(f"{DEVICES}/{bdf}").is_symlink():
            continue
        bridge = msgspec.structs.replace(BRIDGE, bdf=bdf)
        home = home_of(bdf, parents[:depth])
        for name, content in attributes(bridge).items():
            tree.write(f"{home}/{name}", content)
        join_driver(tree, bdf, home, "pcieport")
        tree.link(f"{DEVICES}/{bdf}", home)


def join_driver(tree: Tree, bdf: str, home: str, driver: str) -> None:
    """The two links between a function and its driver."""
    tree.directory(f"{DRIVERS}/{driver}")
    tree.link(f"{DRIVERS}/{driver}/{bdf}", home)
    tree.link(f"{home}/driver", f"{DRIVERS}/{driver}")


def part_driver(tree: Tree, bdf: str, home: str, driver: str) -> None:
    """Take the two links away."""
    tree.remove(f"{home}/driver")
    tree.remove(f"{DRIVERS}/{driver}/{bdf}")


def join_group(tree: Tree, device: SimDevice, home: str) -> None:
    """Put a function into its IOMMU group."""
    if device.iommu is None:
        return
    group = f"{GROUPS}/{device.iommu}"
    if device.noiommu:
        tree.write(f"{group}/name", "vfio-noiommu\n")
    tree.link(f"{group}/devices/{device.bdf}", home)
    tree.link(f"{home}/iommu_group", group)


def leave_group(tree: Tree, device: SimDevice) -> None:
    """Take a function out of its IOMMU group, which ends with its last member."""
    if device.iommu is None:
        return
    group = f"{GROUPS}/{device.iommu}"
    tree.remove(f"{group}/devices/{device.bdf}")
    if not any(tree.at(f"{group}/devices").iterdir()):
        tree.remove(group)

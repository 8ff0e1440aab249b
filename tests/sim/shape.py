"""What Linux shows of a PCI function: a contract that the simulated node and the real one keep.

The ordinary suite holds tests.sim.node to it, tests/e2e/kernel a real kernel. Kernel sources:
drivers/pci/pci-sysfs.c, drivers/pci/iov.c, drivers/iommu/iommu.c, mm/dmapool.c.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BDF: Final = r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"

FILES: Final = {
    "vendor": r"0x[0-9a-f]{4}",
    "device": r"0x[0-9a-f]{4}",
    "class": r"0x[0-9a-f]{6}",
    "modalias": r"pci:v0000[0-9A-F]{4}d0000[0-9A-F]{4}sv[0-9A-F]{8}sd[0-9A-F]{8}bc[0-9A-F]{2}"
    r"sc[0-9A-F]{2}i[0-9A-F]{2}",
    "numa_node": r"-1|\d+",
    "current_link_speed": r"\d+\.\d GT/s PCIe|Unknown",
    "max_link_speed": r"\d+\.\d GT/s PCIe|Unknown",
    "current_link_width": r"\d+",
    "max_link_width": r"\d+",
}
"""Of every PCIe function: what they hold, a line each."""
PF_FILES: Final = {"sriov_totalvfs": r"\d+", "sriov_numvfs": r"\d+"}
"""Of those that can have virtual functions, besides."""
UNIFORM: Final = frozenset({*FILES, "uevent", "config"})
PERHAPS: Final = frozenset({"aer_dev_fatal", "acpi_index"})
"""Only where the firmware lets Linux handle errors, and where it numbers slots."""

_UEVENT: Final = re.compile(
    r"(DRIVER=(?P<driver>[^\n]+)\n)?PCI_CLASS=(?P<code>[0-9A-F]{4,6})\n"
    r"PCI_ID=(?P<vendor>[0-9A-F]{4}):(?P<device>[0-9A-F]{4})\nPCI_SUBSYS_ID=[0-9A-F]{4}:[0-9A-F]{4}\n"
    rf"PCI_SLOT_NAME=(?P<bdf>{_BDF})\nMODALIAS=(?P<modalias>\S+)\n"
)
_POOLS: Final = re.compile(r"poolinfo - 0\.1\n([^\n]{16,} +\d+ +\d+ +\d+ +\d+\n)*")
"""Any driver's DMA pools are listed so, by the kernel itself."""


def complaints(root: Path, bdf: str) -> list[str]:
    """All in which a function differs from what Linux shows, one line each."""
    return [f"{bdf}: {complaint}" for complaint in _complaints(root, bdf)]


def _complaints(root: Path, bdf: str) -> Iterator[str]:
    entry = root / "sys/bus/pci/devices" / bdf
    target = entry.readlink()
    if not re.fullmatch(
        rf"(\.\./){{3}}devices/pci[0-9a-f]{{4,}}:[0-9a-f]{{2}}(/{_BDF})+", str(target)
    ):
        yield f"its directory is {target}"
    names = {path.name for path in entry.iterdir()}
    yield from (f"{name} is missing" for name in sorted(UNIFORM - names))
    for name, wanted in {**FILES, **PF_FILES}.items():
        if name in names and not re.fullmatch(f"({wanted})\n", (entry / name).read_text()):
            yield f"{name} holds {(entry / name).read_text()!r}"
    if "pools" in names and not _POOLS.fullmatch(text := (entry / "pools").read_text()):
        yield f"pools holds {text!r}"
    yield from _identity(entry, bdf)
    yield from _links(root, entry, bdf)
    if "sriov_totalvfs" in names:
        numbers = sorted(int(name[6:]) for name in names if name.startswith("virtfn"))
        if numbers != list(range(int((entry / "sriov_numvfs").read_text()))):
            yield f"its virtual functions are numbered {numbers}"


def _identity(entry: Path, bdf: str) -> Iterator[str]:
    """Each of these says who it is."""
    vendor, device, code = (
        (entry / name).read_text().strip()[2:] for name in ("vendor", "device", "class")
    )
    alias = (entry / "modalias").read_text().strip()
    base, sub, interface = code[:2].upper(), code[2:4].upper(), code[4:].upper()
    if not (
        alias.startswith(f"pci:v0000{vendor.upper()}d0000{device.upper()}sv")
        and alias.endswith(f"bc{base}sc{sub}i{interface}")
    ):
        yield f"modalias holds {alias}"
    uevent = _UEVENT.fullmatch((entry / "uevent").read_text())
    bound = entry / "driver"
    told = (
        bound.readlink().name if bound.is_symlink() else None,
        f"{int(code, 16):04X}",  # a class of 00 or 02 loses its zeros
        vendor.upper(),
        device.upper(),
        bdf,
        alias,
    )
    if uevent is None:
        yield f"uevent holds {(entry / 'uevent').read_text()!r}"
    elif uevent.group("driver", "code", "vendor", "device", "bdf", "modalias") != told:
        yield f"uevent says {uevent.groupdict()}, the files {told}"
    with (entry / "config").open("rb") as file:
        header = file.read(64)
    # A virtual function has no identity of its own (PCIe 6.0, 9.3.4.1.1 and 9.3.4.1.2).
    own = "ffffffff" if (entry / "physfn").is_symlink() else f"{vendor}{device}"
    if header[1::-1].hex() + header[3:1:-1].hex() != own or header[11:8:-1].hex() != code:
        yield f"config begins with {header[:12].hex()}"


def _links(root: Path, entry: Path, bdf: str) -> Iterator[str]:
    """Each leads to something that leads back."""
    ways = {
        "driver": (r"(\.\./)+bus/pci/drivers/[^/]+", bdf),
        "iommu_group": (r"(\.\./)+kernel/iommu_groups/\d+", f"devices/{bdf}"),
        "physfn": (rf"(\.\./)+{_BDF}", "virtfn*"),
        **{path.name: (rf"(\.\./)+{_BDF}", "physfn") for path in entry.glob("virtfn*")},
    }
    home = entry.resolve()
    for name, (wanted, back) in ways.items():
        link = entry / name
        if not link.is_symlink():
            continue
        if not re.fullmatch(wanted, str(link.readlink())):
            yield f"{name} leads to {link.readlink()}"
        if home not in {path.resolve() for path in link.glob(back)}:
            yield f"nothing leads back from its {name}"
    group = entry / "iommu_group"
    if group.is_symlink() and (entry / "driver").resolve().name == "vfio-pci":
        noiommu = (group / "name").exists() and (group / "name").read_text() == "vfio-noiommu\n"
        node = f"noiommu-{group.readlink().name}" if noiommu else group.readlink().name
        yield from (
            f"no /dev/vfio/{name}"
            for name in ("vfio", node)
            if not (root / "dev/vfio" / name).exists()
        )

"""The PCI functions of the node, from the files that the PCI core answers by itself.

None of the files read here waits for hardware, a driver or a lock that a driver holds. That is why
the virtual functions of a PF are seen by its ``virtfn*`` links and not by ``sriov_numvfs``: its
read takes the device lock (drivers/pci/iov.c), which a write to it holds for as long as enabling
takes, or as a user of a function that is to go has it. ``uevent`` and ``driver_override`` take it,
too (seen on Linux 6.1), so identity comes from ``modalias``. tests/e2e/kernel scans meanwhile.
``acpi_index`` evaluates firmware (drivers/pci/pci-label.c) and is read only where it is asked for.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf, PciFunction

PCI_DEVICES: Final = "sys/bus/pci/devices"

# Domains have four digits, or more where a controller makes its own (Intel VMD: 10000:e1:00.0).
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
# file2alias.c: v, d: vendor and device in eight digits; bc: base class in two.
_MODALIAS: Final = re.compile(
    r"pci:v0000(?P<vendor>[0-9A-F]{4})d0000(?P<product>[0-9A-F]{4})"
    r"sv[0-9A-F]{8}sd[0-9A-F]{8}bc(?P<base_class>[0-9A-F]{2})sc[0-9A-F]{2}i[0-9A-F]{2}\s*"
)
_ATTRIBUTE_BYTES: Final = 4096  # sysfs answers one page at most
_NUMA_NODES_MOST: Final = 1024  # CONFIG_NODES_SHIFT is 10 at most


class Unreadable(msgspec.Struct, frozen=True):
    """A function that is there and can't be described, so that no pool can own it."""

    bdf: Bdf
    why: str


class Inventory(msgspec.Struct, frozen=True):
    """One look at the node."""

    functions: tuple[PciFunction, ...] = ()
    """Sorted by address."""
    unreadable: tuple[Unreadable, ...] = ()
    failed: str | None = None
    """Why there was nothing to look at; what was known before then still stands."""


def scan(root: Path, *, base_classes: frozenset[int], acpi_indexes: bool) -> Inventory:
    """The functions of the given base classes below ``root``; never raises for what is on disk."""
    try:
        names = sorted(os.listdir(root / PCI_DEVICES))
    except OSError as error:
        return Inventory(failed=f"/{PCI_DEVICES}: {error.strerror}")
    functions: list[PciFunction] = []
    unreadable: list[Unreadable] = []
    for bdf in _addresses(names):
        try:
            found = _function(f"{root}/{PCI_DEVICES}/{bdf}", bdf, base_classes, acpi_indexes)
        except OSError as error:
            if not os.path.lexists(f"{root}/{PCI_DEVICES}/{bdf}"):
                continue  # it left while we looked: the kernel takes this link away first
            where = os.path.basename(error.filename or bdf)
            unreadable.append(Unreadable(bdf, f"{where}: {error.strerror}"))
        except ValueError as error:
            unreadable.append(Unreadable(bdf, str(error)))
        else:
            if found is not None:
                functions.append(found)
    return Inventory(tuple(functions), tuple(unreadable))


def attribute(path: str) -> str:
    """A sysfs attribute's text without the white space around it; OSError where there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, _ATTRIBUTE_BYTES).decode(errors="replace").strip()
    finally:
        os.close(fd)


def _addresses(names: list[str]) -> Iterator[Bdf]:
    return (Bdf(name) for name in names if _ADDRESS.fullmatch(name))


def _function(
    path: str,
    bdf: Bdf,
    base_classes: frozenset[int],
    acpi_indexes: bool,  # noqa: FBT001
) -> PciFunction | None:
    vendor, product, base_class = _identity(path)
    if base_class not in base_classes:
        return None
    entries = os.listdir(path)
    return PciFunction(
        bdf=bdf,
        vendor=vendor,
        product=product,
        base_class=base_class,
        driver=_link_name(path, "driver") if "driver" in entries else None,
        numa_node=_numa_node(path) if "numa_node" in entries else None,
        acpi_index=(
            attribute(f"{path}/acpi_index") if acpi_indexes and "acpi_index" in entries else ""
        ),
        has_vfs=any(entry.startswith("virtfn") for entry in entries),
    )


def _identity(path: str) -> tuple[str, str, int]:
    try:
        alias = attribute(f"{path}/modalias")
    except FileNotFoundError:
        alias = ""
    if match := _MODALIAS.fullmatch(alias):
        base_class = int(match["base_class"], 16)
        return match["vendor"].lower(), match["product"].lower(), base_class
    number = {name: attribute(f"{path}/{name}") for name in ("vendor", "device", "class")}
    for name, digits in (("vendor", 4), ("device", 4), ("class", 6)):
        if not re.fullmatch(rf"0x[0-9a-fA-F]{{{digits}}}", number[name]):
            raise ValueError(f"{name}: expected 0x and {digits} digits, got {number[name][:40]!r}")
    return (
        number["vendor"].removeprefix("0x").lower(),
        number["device"].removeprefix("0x").lower(),
        int(number["class"], 16) >> 16,
    )


def _link_name(path: str, name: str) -> str | None:
    try:
        found = os.path.basename(os.readlink(f"{path}/{name}"))
    except FileNotFoundError:
        return None  # it went after the directory was listed
    except OSError as error:
        # readlink says EINVAL of a file or directory that is no link
        raise ValueError(f"{name}: expected a link, {error.strerror}") from error
    if not found.isprintable():  # bytes that are no text could not be sent to a worker
        raise ValueError(f"{name}: expected a link to a name, got {found[:40]!a}")
    return found


def _numa_node(path: str) -> int | None:
    try:
        node = int(attribute(f"{path}/numa_node"))
    except (OSError, ValueError):
        return None  # as good as -1: the device is used, without a topology hint
    return node if 0 <= node < _NUMA_NODES_MOST else None

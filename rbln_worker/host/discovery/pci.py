"""The PCI functions of the node, from files of the PCI core that take no lock.

A function costs four reads (``modalias``, ``numa_node``, its folder, its ``driver`` link), two more
for a virtual one, and one for its position below the bridges. The virtual functions of a PF are
found by its ``virtfn*`` links and not by ``sriov_numvfs``: its read takes the device lock
(drivers/pci/iov.c), which a write to it holds while functions are enabled, or while a user of a
function that is being removed keeps it. ``uevent`` and ``driver_override`` take the lock, too (seen
on Linux 6.1), so the identity comes from ``modalias``. tests/e2e/kernel scans meanwhile.
``acpi_index`` evaluates firmware (drivers/pci/pci-label.c) and is read only if it is required.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_worker.contract.device import Bdf, PciFunction
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.sysfs import (
    PCI_ADDRESS,
    PCI_DEVICES,
    link_name,
    list_names,
    read_attribute,
    read_optional,
)

# file2alias.c: v, d: vendor and device in eight digits; bc: base class in two.
_MODALIAS: Final = re.compile(
    r"pci:v0000(?P<vendor>[0-9A-F]{4})d0000(?P<product>[0-9A-F]{4})"
    r"sv[0-9A-F]{8}sd[0-9A-F]{8}bc(?P<base_class>[0-9A-F]{2})sc[0-9A-F]{2}i[0-9A-F]{2}\s*"
)
_VIRTFN: Final = re.compile(r"virtfn([0-9]{1,5})")
_MAX_NUMA_NODES: Final = 1024  # CONFIG_NODES_SHIFT is 10 at most


class Found(NamedTuple):
    """A function, and facts for further reads."""

    function: PciFunction
    path: str
    entries: frozenset[str]
    """The names in its folder."""


class Scan(NamedTuple):
    """The result of one pass over the functions."""

    found: Mapping[Bdf, Found]
    """Functions by address, sorted."""
    unreadable: Mapping[str, str]
    """Reasons by address."""
    discovered: frozenset[Bdf] | None = None
    """Addresses that were read; None: all."""


def scan_functions(root: str, needs: Needs) -> Scan:
    """Return the required functions; raise OSError if they can't be listed."""
    home = f"{root}/{PCI_DEVICES}"
    if needs.only is None:
        return _scan_listed(home, os.listdir(home), needs)
    os.stat(home)
    some = _scan_listed(home, needs.only, needs)
    pfs = {one.function.pf for one in some.found.values() if one.function.pf is not None}
    discovered = needs.only | pfs
    whole = _scan_listed(home, discovered, needs) if pfs - needs.only else some
    return whole._replace(discovered=discovered)


def _scan_listed(home: str, listed: Iterable[str], needs: Needs) -> Scan:
    found: dict[Bdf, Found] = {}
    unreadable: dict[str, str] = {}
    for name in sorted(listed):
        if not PCI_ADDRESS.fullmatch(name):
            continue
        try:
            one = _read_function(f"{home}/{name}", Bdf(name), needs)
        except OSError as error:
            if not os.path.lexists(f"{home}/{name}"):
                continue  # removed meanwhile: the kernel removes this link first
            where = os.path.basename(error.filename or name)
            unreadable[name] = f"{where}: {error.strerror}"
        except ValueError as error:
            unreadable[name] = str(error)
        else:
            if one is not None:
                found[Bdf(name)] = one
    return Scan(_with_vf_numbers(home, found), unreadable)


def _read_function(path: str, bdf: Bdf, wanted: Needs) -> Found | None:
    vendor, product, base_class = _pci_identity(path)
    if base_class not in wanted.base_classes:
        return None
    entries = frozenset(os.listdir(path))
    pf = link_name(path, "physfn") if "physfn" in entries else None
    if pf is not None and not PCI_ADDRESS.fullmatch(pf):
        raise ValueError(f"physfn: expected a link to a PCI function, got {pf[:40]!r}")
    driver = _bound_driver(path) if "driver" in entries else None
    function = PciFunction(
        bdf=bdf,
        vendor=vendor,
        product=product,
        base_class=base_class,
        driver=driver,
        numa_node=_numa_node(path) if "numa_node" in entries else None,
        acpi_index=(
            read_attribute(f"{path}/acpi_index")
            if wanted.acpi_indexes and "acpi_index" in entries
            else ""
        ),
        has_vfs=any(map(_VIRTFN.fullmatch, entries)),
        sriov="sriov_totalvfs" in entries,
        pf=Bdf(pf) if pf is not None else None,
        bridges=_bridges_above(path, bdf),
        iommu_group=_iommu_group(path) if driver is not None and "vfio" in driver else "",
    )
    return Found(function, path, entries)


def _bound_driver(path: str) -> str | None:
    try:
        return link_name(path, "driver")
    except FileNotFoundError:
        return None  # removed after the folder was listed


def _iommu_group(path: str) -> str:
    try:
        return link_name(path, "iommu_group")
    except (OSError, ValueError):  # the device's worker reports the problem
        return ""


def _with_vf_numbers(home: str, found: Mapping[Bdf, Found]) -> dict[Bdf, Found]:
    """Return the functions with the numbers of virtual ones; each PF's links are read once."""
    numbers: dict[Bdf, Mapping[str, int]] = {}
    for one in found.values():
        pf = one.function.pf
        if pf is not None and pf not in numbers:
            entries = found[pf].entries if pf in found else list_names(f"{home}/{pf}")
            numbers[pf] = _virtual_functions(f"{home}/{pf}", entries)
    return {
        bdf: one
        if one.function.pf is None
        else one._replace(
            function=msgspec.structs.replace(one.function, index=numbers[one.function.pf].get(bdf))
        )
        for bdf, one in found.items()
    }


def _virtual_functions(path: str, entries: Iterable[str]) -> dict[str, int]:
    """Return numbers by address, from the links ``virtfn<number>``: there may be gaps."""
    numbers: dict[str, int] = {}
    for entry in entries:
        if match := _VIRTFN.fullmatch(entry):
            try:
                numbers[link_name(path, entry)] = int(match[1])
            except (FileNotFoundError, ValueError):
                continue  # a device without a number
    return numbers


def _bridges_above(path: str, bdf: Bdf) -> tuple[Bdf, ...]:
    """Return the addresses above it in /sys/devices, where its folder is below its bridges'."""
    try:
        place = os.readlink(path)
    except OSError:
        return ()  # it is a folder, as on some simulated nodes
    return tuple(
        Bdf(part) for part in place.split("/") if part != bdf and PCI_ADDRESS.fullmatch(part)
    )


def _pci_identity(path: str) -> tuple[str, str, int]:
    alias = read_attribute(f"{path}/modalias")
    match = _MODALIAS.fullmatch(alias)
    if match is None:
        raise ValueError(f"modalias: expected a PCI device's, got {alias[:40]!r}")
    return match["vendor"].lower(), match["product"].lower(), int(match["base_class"], 16)


def _numa_node(path: str) -> int | None:
    try:
        node = int(read_optional(f"{path}/numa_node"))
    except ValueError:
        return None  # like -1: the device is used without a topology hint
    return node if 0 <= node < _MAX_NUMA_NODES else None

"""Our look at /sys against what the kernel says elsewhere."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import pytest

from rbln_worker.contract.device import PciFunction
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.pools import KERNEL_DRIVER
from tests.e2e.kernel.vm.machine import VFS

pytestmark = pytest.mark.by_kernel

ALL: Final = frozenset({0x00, 0x01, 0x02, 0x06, 0x07, 0x08, 0x0C, 0x12})
"""Every base class that the machine has."""
OURS: Final = ("modalias", "numa_node")
"""Files that a scan may read, beside links and names."""
FILES: Final = (*OURS, "uevent", "driver_override", "config", "sriov_numvfs", "current_link_speed")
CHANGES_S: Final = 2.0
WAITS_S: Final = 1.0
"""What takes longer waits for something."""


def scan() -> DiscoveryResult:
    return scan_node(Path("/"), Needs(base_classes=ALL, acpi_indexes=True))


def functions() -> dict[str, PciFunction]:
    found = scan()
    assert found.failed is None
    assert found.node.unreadable == {}
    return {str(bdf): function for bdf, function in found.node.functions.items()}


def test_every_function_is_described_as_the_kernel_lists_it(
    pfs: tuple[str, str], note: Note
) -> None:
    pci.set_vfs(pfs[0], VFS)
    began = monotonic()
    found = functions()
    took = monotonic() - began
    assert {
        bdf: pci.Listed(function.vendor, function.product, function.driver)
        for bdf, function in found.items()
    } == pci.listed()
    for bdf, function in found.items():
        assert f"{function.base_class:02x}" == pci.header_class(bdf)[:2]
    note(
        "one scan of /sys, all classes",
        f"{len(found)} functions, as /proc/bus/pci/devices and their own registers say",
        took,
    )


def test_numa_nodes(pfs: tuple[str, str], accelerators: tuple[str, str]) -> None:
    found = functions()
    for node in range(2):
        for bdf in (pfs[node], accelerators[node]):
            assert found[bdf].numa_node == node
            assert pci.cpus(bdf) == str(node)  # the machine has one processor a node
    assert found["0000:00:1f.0"].numa_node is None
    assert pci.attribute("0000:00:1f.0", "numa_node") == "-1"


def test_virtual_functions_come_and_go(pfs: tuple[str, str], note: Note) -> None:
    pf, other = pfs
    groups, took = [], []
    assert not functions()[pf].has_vfs
    for _ in range(2):
        began = monotonic()
        pci.set_vfs(pf, VFS)
        took.append(monotonic() - began)
        vfs = pci.vfs(pf)
        found = functions()
        assert len(vfs) == VFS == int(pci.attribute(pf, "sriov_numvfs"))
        assert {bdf for bdf, function in found.items() if function.has_vfs} == {pf}
        for vf in vfs:
            assert (found[vf].vendor, found[vf].product) == pci.NVME
            assert (found[vf].numa_node, found[vf].driver) == (0, None)
        groups.append([pci.group(bdf) for bdf in (pf, other, *vfs)])
        assert len(set(groups[-1])) == VFS + 2
        pci.set_vfs(pf, 0)
        assert not functions()[pf].has_vfs
        assert not functions().keys() & set(vfs)
    assert groups[0] == groups[1]
    numbers = ", ".join(groups[0][2:])
    note(
        f"sriov_numvfs 0 → {VFS} → 0, twice",
        f"has_vfs; VFs on their PF's NUMA node; IOMMU groups {numbers}, both times",
        took[0],
    )


def test_a_function_without_a_driver(accelerators: tuple[str, str]) -> None:
    pci.unbind(accelerators[0])
    assert functions()[accelerators[0]].driver is None
    pci.bind(accelerators[0], "vfio-pci")
    assert functions()[accelerators[0]].driver == "vfio-pci"


def test_scans_while_functions_come_and_go(
    pfs: tuple[str, str], accelerators: tuple[str, str], note: Note
) -> None:
    """None is left out for a reason that is none: it is there or it isn't."""
    over = threading.Event()

    def again(change: Callable[[], None]) -> None:
        while not over.is_set():
            change()

    def vfs() -> None:
        pci.set_vfs(pfs[0], VFS)
        pci.set_vfs(pfs[0], 0)

    def drivers() -> None:
        pci.unbind(accelerators[0])
        pci.rebind(accelerators[0], KERNEL_DRIVER)

    steady = pci.addresses()
    changers = [threading.Thread(target=again, args=(change,)) for change in (vfs, drivers)]
    for changer in changers:
        changer.start()
    began, scans, kinds = monotonic(), 0, set[tuple[int, bool, str | None]]()
    try:
        while monotonic() - began < CHANGES_S:
            found = functions()
            scans += 1
            assert steady <= found.keys()
            kinds.add(
                (len(found) - len(steady), found[pfs[0]].has_vfs, found[accelerators[0]].driver)
            )
    finally:
        over.set()
        for changer in changers:
            changer.join()
    assert len(kinds) > 1
    took = monotonic() - began
    note("scans while VFs and a driver come and go", f"{scans}, none with a fault", took)


def test_a_scan_never_waits_for_a_driver(pfs: tuple[str, str], note: Note) -> None:
    """VFs go when nobody uses them; whoever takes them away holds the PF's lock meanwhile."""
    pf = pfs[0]
    pci.set_vfs(pf, VFS)
    vf = pci.vfs(pf)[0]
    pci.bind(vf, "vfio-pci")
    with pci.in_use(vf):
        taking = started("sh", "-c", f"echo 0 >{pci.DEVICES}/{pf}/sriov_numvfs")
        # The kernel takes the driver's links away before it waits for the driver.
        pci.until(lambda: pci.driver(vf) is None, what="the kernel begins")
        files = {
            f"{who}'s {name}": (bdf, name)
            for who, bdf in (("PF", pf), ("VF", vf))
            for name in FILES
        }
        reading = {
            what: started("cat", f"{pci.DEVICES}/{bdf}/{name}")
            for what, (bdf, name) in files.items()
        }
        began = monotonic()
        found = functions()
        took = monotonic() - began
        assert took < WAITS_S
        sleep(WAITS_S)
        waiting = [what for what, reader in reading.items() if reader.poll() is None]
        assert taking.poll() is None
        assert "PF's sriov_numvfs" in waiting
        assert not {what for what in waiting if what.split()[1] in OURS}
        assert (found[vf].driver, found[pf].has_vfs) == (None, True)
    began = monotonic()
    assert taking.wait(10.0) == 0
    freed = monotonic() - began
    for reader in reading.values():
        reader.wait(10.0)
    assert not functions().keys() & {vf}
    note(
        "a scan while a write to sriov_numvfs waits for a vfio user",
        f"it is done; what waits: {', '.join(waiting)}",
        took,
    )
    note("the vfio user lets go", "the write ends, the VFs are gone", freed)


def started(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

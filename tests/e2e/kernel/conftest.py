"""What the tests have in the VM: the machine's monitor, its functions, the system on them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.e2e.kernel import pci, table
from tests.e2e.kernel.vm.machine import ACCELERATOR
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System
from tests.system.scene import config, pool

SHARE: Final = "RBLN_VM_SHARE"
KERNEL_DRIVER: Final = "virtio-pci"
"""Of the accelerators: virtio_blk is bound to a device below theirs, on the virtio bus."""
KERNEL: Final = "rebellions.ai/KERNEL"
VM: Final = "rebellions.ai/VM"
GRACE_S: Final = 3.0
START_DEADLINE_S: Final = 60.0
"""4 s on a machine that is not busy with anything else; 10 s were seen."""

Note = Callable[[str, str, float], None]
"""What was tried, what was seen, seconds."""


@pytest.fixture(scope="session", autouse=True)
def share() -> Path:
    """The folder that outlives the VM."""
    if SHARE not in os.environ:
        pytest.exit("these tests change PCI functions: scripts/e2e kernel runs them in a VM", 2)
    return Path(os.environ[SHARE])


@pytest.fixture(scope="session", autouse=True)
def time_to_tests(share: Path) -> None:
    """Until here: boot, Python, pytest and all that the tests import."""
    seconds = float(Path("/proc/uptime").read_text().split()[0])
    table.note(share, table.Seen("boot", "the first test begins", seconds))


@pytest.fixture
def note(share: Path) -> Note:
    """A line of the table."""
    return lambda tried, seen, seconds: table.note(share, table.Seen(tried, seen, seconds))


@pytest.fixture(scope="session")
def monitor() -> Iterator[Qmp]:
    with Qmp() as monitor:
        yield monitor


@pytest.fixture
def plug(monitor: Qmp) -> Iterator[Callable[[str, str], str]]:
    """Plug an accelerator with a name into a slot; its address. It goes with the test."""
    plugged: dict[str, str] = {}

    def plug(name: str, slot: str) -> str:
        before = pci.addresses()
        monitor("device_add", **ACCELERATOR, id=name, bus=slot)
        plugged[name] = pci.appeared(before)
        return plugged[name]

    yield plug
    for name, address in plugged.items():
        if address in pci.addresses():
            monitor("device_del", id=name)
            monitor.wait("DEVICE_DELETED", name)


@pytest.fixture
def pfs() -> Iterator[tuple[str, str]]:
    """The two controllers with SR-IOV, that of NUMA node 0 first; without VFs, then and after."""
    first, second = sorted(path.parent.name for path in pci.DEVICES.glob("*/sriov_totalvfs"))
    yield first, second
    for pf in (first, second):
        pci.set_vfs(pf, 0)


@pytest.fixture
def accelerators() -> Iterator[tuple[str, str]]:
    """The two that are there from the start, that of NUMA node 0 first; on their own driver."""
    first, second = sorted(
        address
        for address in pci.addresses()
        if pci.attribute(address, "class") == "0x120000"
        and pci.attribute(address, "numa_node") != "-1"
    )
    yield first, second
    for address in (first, second):
        if pci.driver(address) != KERNEL_DRIVER:
            pci.rebind(address, KERNEL_DRIVER)


@pytest.fixture(scope="session")
def system(share: Path) -> Iterator[System]:
    """Supervisor, workers and simulated kubelet: one for all tests, starting takes seconds."""
    vendors = [pci.VIRTIO_VENDOR]
    pools = config(
        pool("KERNEL", vendors=vendors, drivers=[KERNEL_DRIVER]),
        pool("VM", vendors=vendors, drivers=["vfio-pci"]),
    )
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp") as folder:
        began = monotonic()
        with System(
            pools,
            Path("/"),
            Path(folder),
            kubelet_dir=Path(folder, "k"),
            arguments=("--gone-grace", str(GRACE_S)),
        ) as system:
            system.kubelet.wait(
                lambda k: k.resource(KERNEL).allocatable == 2,
                START_DEADLINE_S,
                what="both accelerators",
            )
            seconds = monotonic() - began
            table.note(share, table.Seen("start", "both accelerators are allocatable", seconds))
            yield system

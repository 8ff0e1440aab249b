"""What the tests have in the VM: the machine's monitor, its functions, the system on them."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from rbln_supervisor.core.control.protocol import Explain, ExplainReply, Rescan, RescanReply
from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import send_request
from tests.e2e.kernel import net, pci, pools, table
from tests.e2e.kernel.listening import Listening
from tests.e2e.kernel.net import Cards, Nic
from tests.e2e.kernel.pools import CARDS, KERNEL, KERNEL_DRIVER
from tests.e2e.kernel.vm.machine import ACCELERATOR, NETWORK_PF, SLOTS, VIRTIO_NIC
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

SHARE: Final = "RBLN_VM_SHARE"
WITHOUT_NETWORK: Final = "RBLN_VM_WITHOUT_NETWORK"
"""Why there are no network cards, where there are none."""
WITHOUT_SWITCH: Final = "RBLN_VM_WITHOUT_SWITCH"
WITHOUT_BUILT: Final = "RBLN_VM_WITHOUT_BUILT"
"""Why modules are missing that Debian leaves out and that are built for the image."""
NICS: Final = ("nic0", "nic1")
"""QEMU's names of the virtio network cards."""
GRACE_S: Final = 3.0
NEVER_S: Final = 86400.0
"""Between two looks that nothing gave a reason for: none of them helps here."""
START_DEADLINE_S: Final = 60.0
"""5 s on a machine that is not busy with anything else; 10 s were seen."""

Note = Callable[[str, str, float], None]
"""What was tried, what was seen, seconds."""


def pytest_configure(config: pytest.Config) -> None:
    """Marks of this suite."""
    config.addinivalue_line("markers", "by_kernel: what can differ between versions of the kernel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what needs no system: it would look at the node whenever one of these changes it."""
    items.sort(key=lambda item: isinstance(item, pytest.Function) and "system" in item.fixturenames)


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


@pytest.fixture(scope="session")
def listening() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="session")
def named() -> Cards | None:
    """The network cards, their interfaces as ``pools`` has them; None where there are none."""
    if os.environ.get(WITHOUT_NETWORK):
        return None
    cards = Cards(*net.pfs())
    net.rename(net.interface(cards.quiet), net.QUIET)
    net.rename(net.interface(cards.linked), net.LINKED)
    net.ip("link", "set", net.LINKED, "up")
    return cards


@pytest.fixture
def cards(named: Cards | None) -> Iterator[Cards]:
    """The network cards, without VFs, then and after."""
    if named is None:
        pytest.skip(os.environ[WITHOUT_NETWORK])
    yield named
    for pf in named:
        pci.set_vfs(pf, 0)


@pytest.fixture
def plug(monitor: Qmp) -> Iterator[Callable[[str, str], str]]:
    """Plug an accelerator with a name into a slot; its address. It goes with the test."""
    with _plugging(monitor, ACCELERATOR) as plug:
        yield plug


@pytest.fixture
def plug_card(monitor: Qmp, cards: Cards) -> Iterator[Callable[[str, str], str]]:
    """The same with a network card."""
    assert cards
    with _plugging(monitor, NETWORK_PF) as plug:
        yield plug


@pytest.fixture
def switch() -> Iterator[str]:
    """The function with an interface for each port of a switch, which are set down at the end."""
    if why := os.environ[WITHOUT_SWITCH]:
        pytest.skip(why)
    (address,) = pci.of_product(pci.QEMU_VENDOR, net.SWITCH)
    yield address
    for name in net.interfaces(address):
        net.ip("link", "set", name, "down")


@pytest.fixture(scope="module")
def nics(monitor: Qmp) -> Iterator[tuple[Nic, Nic]]:
    """Two virtio network cards, plugged in for a module's tests; their interfaces are set down."""
    with _plugging(monitor, VIRTIO_NIC) as plug:
        first, second = (plugged_nic(plug, *words) for words in zip(NICS, SLOTS, strict=True))
        yield first, second


def plugged_nic(plug: Callable[[str, str], str], name: str, slot: str) -> Nic:
    """Plug a virtio network card into a slot, and wait for its interface."""
    address = plug(name, slot)
    pci.until(lambda: net.interfaces(address), what=f"an interface of {address}")
    return Nic(name, address, net.interface(address))


@contextmanager
def _plugging(monitor: Qmp, what: Mapping[str, object]) -> Iterator[Callable[[str, str], str]]:
    plugged: dict[str, str] = {}

    def plug(name: str, slot: str) -> str:
        before = pci.addresses()
        monitor("device_add", **what, id=name, bus=slot)
        plugged[name] = pci.appeared(before)
        return plugged[name]

    yield plug
    for name, address in plugged.items():
        if address in pci.addresses():
            monitor("device_del", id=name)
            monitor.wait("DEVICE_DELETED", name)


@pytest.fixture
def pfs() -> Iterator[tuple[str, str]]:
    """The two NVMe controllers, that of NUMA node 0 first; without VFs, then and after."""
    first, second = sorted(
        address
        for address in pci.addresses()
        if pci.attribute(address, "class") == "0x010802" and not pci.is_vf(address)
    )
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
def system(share: Path, named: Cards | None) -> Iterator[System]:
    """Supervisor, workers and simulated kubelet: one for all tests, starting takes seconds.

    Nobody asks it to look at the node, and it doesn't look by itself: it has to hear of things.
    """
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp") as folder:
        began = monotonic()
        with System(
            pools.configuration(named and named.linked),
            Path("/"),
            Path(folder),
            kubelet_dir=Path(folder, "k"),
            arguments=("--gone-grace", str(GRACE_S), "--rescan-interval", str(NEVER_S)),
        ) as system:
            system.kubelet.wait(
                lambda k: (
                    k.resource(KERNEL).allocatable == 2
                    and (named is None or k.resource(CARDS).allocatable == 1)
                ),
                START_DEADLINE_S,
                what="what is there from the start",
            )
            seconds = monotonic() - began
            table.note(share, table.Seen("start", "all pools with devices are listed", seconds))
            yield system


def explained(system: System, name: str) -> Explanation:
    """Return what the supervisor says of a device by any of its names."""
    reply = send_request(system.run_dir, Explain(name))
    assert isinstance(reply, ExplainReply), reply
    return reply.explanation


def rescan(system: System) -> None:
    """Have the node scanned now: nothing tells the supervisor of routes."""
    assert isinstance(send_request(system.run_dir, Rescan()), RescanReply)


def reason(system: System, pool: str, address: str, wanted: str = "") -> str:
    """Why a device is not healthy, as rbln-ctl says it; ``wanted``: wait until it says that."""

    def said(status: NodeStatus) -> str:
        device = status.pools[pool].devices.get(address)
        return device.reason if device and wanted in device.reason else ""

    status = system.wait_status(said, what=f"a reason {wanted!r} for {address}")
    return said(status)

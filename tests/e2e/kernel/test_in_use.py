"""A device that somebody uses does not leave, and whoever takes it away waits in the kernel.

For hours, if the user likes; with the lock of the device and of its PF. Nothing of ours waits.
"""

import subprocess
from collections.abc import Callable
from time import monotonic

import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.e2e.kernel import pci
from tests.e2e.kernel.conftest import Note, reason
from tests.e2e.kernel.listening import Listening
from tests.e2e.kernel.net import Cards
from tests.e2e.kernel.pools import CARDS, DPDK, KERNEL, KERNEL_DRIVER, VFS, VM
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import SLOTS
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel


def test_virtual_functions_are_taken_away_while_one_is_in_use(
    system: System,
    cards: Cards,
    accelerators: tuple[str, str],
    listening: Listening,
    note: Note,
) -> None:
    pf = cards.quiet
    pci.set_vfs(pf, 2, drivers=True)
    used, other = pci.vfs(pf)
    pci.bind(used, "vfio-pci")
    heard(system.kubelet, DPDK, used, HEALTHY)
    heard(system.kubelet, VFS, other, HEALTHY)
    told = Told(system.kubelet, DPDK, VFS)
    with pci.in_use(used):
        began = monotonic()
        writer = writing("0", pf)
        pci.until(lambda: pci.driver(used) is None, what="the kernel begins")
        took = everything_else_goes_on(system, accelerators[0], listening)
        # It says so when the driver is done, which is when the user is: other events lead to looks.
        said = announced(listening, used, began)
        heard(system.kubelet, DPDK, used, UNHEALTHY)
        assert reason(system, DPDK, used) == "no driver is bound to it"
        note(
            "numvfs → 0 with a VF in use",
            f"{said} of the kernel; what looks: Unhealthy",
            monotonic() - began,
        )
        assert writer.poll() is None, "the write has waited for all of that"
        note("… status, Allocate, rescan and another device's driver meanwhile", "answered", took)
    assert writer.wait(10.0) == 0
    gone = listening.last("remove", used, began)
    back = heard(system.kubelet, CARDS, pf, HEALTHY)
    note("its user lets go: its remove → CARDS", "the PF is a device again", back - gone)
    heard(system.kubelet, DPDK, used, AWAY)
    assert told.ways(DPDK) == {used: (HEALTHY, UNHEALTHY, AWAY)}
    assert told.superfluous() == ()


def test_a_device_in_use_is_unplugged(
    system: System,
    monitor: Qmp,
    plug: Callable[[str, str], str],
    accelerators: tuple[str, str],
    listening: Listening,
    note: Note,
) -> None:
    """A device that a virtual machine has stays until it lets go: to our eyes without a driver."""
    address = plug("three", SLOTS[0])
    pci.bind(address, "vfio-pci")
    heard(system.kubelet, VM, address, HEALTHY)
    told = Told(system.kubelet, VM)
    with pci.in_use(address):
        began = monotonic()
        monitor("device_del", id="three")
        pci.until(lambda: pci.driver(address) is None, what="the kernel begins")
        took = everything_else_goes_on(system, accelerators[0], listening)
        said = announced(listening, address, began)
        heard(system.kubelet, VM, address, UNHEALTHY)
        assert reason(system, VM, address) == "no driver is bound to it"
        assert address in pci.addresses()
        freed = monotonic()
    gone = listening.last("remove", address, began)
    note("unplugged while its vfio device is open", f"{said} of the kernel", freed - began)
    note("… status, Allocate, rescan and another device's driver meanwhile", "answered", took)
    note("its user lets go", "gone from /sys", gone - freed)
    monitor.wait("DEVICE_DELETED", "three")
    heard(system.kubelet, VM, address, AWAY)
    assert told.ways(VM) == {address: (HEALTHY, UNHEALTHY, AWAY)}
    assert len(told.messages(VM)) == 2


def announced(listening: Listening, address: str, since: float) -> str:
    """Return what the kernel tells of a device that waits for its user, for the table.

    Linux 6.1 tells nothing; 7.3 takes the character device away at once, and says that.
    """
    words = listening.about(address, since)
    assert {(word.action, "/vfio-dev/" in word.of) for word in words} <= {("remove", True)}
    return "remove of vfio-dev" if words else "no word"


def everything_else_goes_on(system: System, address: str, listening: Listening) -> float:
    """Ask all that can be asked, and change another device; the longest that one took."""
    times = []
    began = monotonic()
    system.status()
    times.append(monotonic() - began)
    began = monotonic()
    system.kubelet.allocate(KERNEL, [[address]])
    times.append(monotonic() - began)
    began = monotonic()
    assert isinstance(send_request(system.run_dir, Rescan()), RescanReply)
    times.append(monotonic() - began)
    for action, wanted in (("unbind", UNHEALTHY), ("bind", HEALTHY)):
        began = monotonic()
        if action == "unbind":
            pci.unbind(address)
        else:
            pci.rebind(address, KERNEL_DRIVER)
        said = listening.last(action, address, began)
        times.append(heard(system.kubelet, KERNEL, address, wanted) - said)
    return max(times)


def writing(value: str, pf: str) -> "subprocess.Popen[bytes]":
    """A process that writes to sriov_numvfs, and waits as long as the kernel has it wait."""
    path = f"{pci.DEVICES}/{pf}/sriov_numvfs"
    return subprocess.Popen(("sh", "-c", f"echo {value} >{path}"))

"""Network functions that come, go, change their names and their namespaces, as the kubelet hears.

Nobody asks for a look. How often the kubelet is told is compared with the kernel's own steps: each
device's way is the shortest there is, and no message repeats the one before it.
"""

from collections.abc import Callable
from time import monotonic

import pytest

from tests.e2e.kernel import net, pci
from tests.e2e.kernel.conftest import Note
from tests.e2e.kernel.listening import Listening
from tests.e2e.kernel.net import Cards
from tests.e2e.kernel.pools import CARDS, DPDK, OTHER_NAME, OTHERS, RENAMED, VFS
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import SLOTS
from tests.e2e.kernel.vm.machine import VFS as MANY
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel


def test_virtual_functions_come_and_go(
    system: System, cards: Cards, listening: Listening, note: Note
) -> None:
    pf = cards.quiet
    heard(system.kubelet, CARDS, pf, HEALTHY)
    told = Told(system.kubelet, CARDS, VFS)
    began = monotonic()
    pci.set_vfs(pf, MANY, drivers=True)
    wrote = monotonic() - began
    vfs = pci.vfs(pf)
    last = max(listening.last("bind", vf, began) for vf in vfs)
    came = max(heard(system.kubelet, VFS, vf, HEALTHY) for vf in vfs)
    fell = heard(system.kubelet, CARDS, pf, UNHEALTHY)
    first = listening.last("add", vfs[0], began)
    heard(system.kubelet, CARDS, pf, AWAY)
    # The kernel makes them one after the other: any of them may be seen alone.
    assert told.ways(VFS) == dict.fromkeys(vfs, (AWAY, HEALTHY))
    assert told.ways(CARDS) == {pf: (HEALTHY, UNHEALTHY, AWAY)}
    assert told.superfluous() == ()
    came_in = len(told.messages(VFS))
    note(f"sriov_numvfs 0 → {MANY}", f"the write returns, igb's link with it; {MANY} VFs", wrote)
    note("… the first VF's add → CARDS", "its PF is no device any more", fell - first)
    note("… the last VF's bind → VFS", f"all {MANY} Healthy, {came_in} messages", came - last)

    told = Told(system.kubelet, CARDS, VFS)
    began = monotonic()
    pci.set_vfs(pf, 0)
    last = max(listening.last("remove", vf, began) for vf in vfs)
    fell = max(heard(system.kubelet, VFS, vf, UNHEALTHY) for vf in vfs)
    back = heard(system.kubelet, CARDS, pf, HEALTHY)
    fell_in = len(told.messages(VFS))
    for vf in vfs:
        heard(system.kubelet, VFS, vf, AWAY)
    assert told.ways(VFS) == dict.fromkeys(vfs, (HEALTHY, UNHEALTHY, AWAY))
    assert told.ways(CARDS) == {pf: (AWAY, HEALTHY)}
    assert told.superfluous() == ()
    note("4 → 0: the last VF's remove → VFS", f"all Unhealthy, {fell_in} messages", fell - last)
    note("… → CARDS", "the PF is a device again", back - last)


def test_a_card_is_plugged_and_unplugged_with_its_virtual_functions(
    system: System,
    monitor: Qmp,
    plug_card: Callable[[str, str], str],
    listening: Listening,
    note: Note,
) -> None:
    told = Told(system.kubelet, CARDS, OTHERS)
    began = monotonic()
    pf = plug_card("card", SLOTS[0])
    bound = listening.last("bind", pf, began)
    came = heard(system.kubelet, CARDS, pf, HEALTHY)
    added = listening.last("add", pf, began)
    note("a network card is plugged: its add → its bind", "the driver is done", bound - added)
    note("… its add → CARDS", "Healthy", came - added)

    pci.set_vfs(pf, 2, drivers=True)
    vfs = pci.vfs(pf)
    for vf in vfs:
        heard(system.kubelet, OTHERS, vf, HEALTHY)
    heard(system.kubelet, CARDS, pf, AWAY)

    began = monotonic()
    monitor("device_del", id="card")
    gone = max(listening.last("remove", vf, began) for vf in vfs)
    fell = max(heard(system.kubelet, OTHERS, vf, UNHEALTHY) for vf in vfs)
    monitor.wait("DEVICE_DELETED", "card")
    done = listening.last("remove", pf, began)
    note("it is unplugged, 2 VFs enabled", "the kernel is done", done - began)
    note("… the last VF's remove → OTHERS", "both VFs Unhealthy", fell - gone)
    for vf in vfs:
        heard(system.kubelet, OTHERS, vf, AWAY)
    assert told.ways(OTHERS) == dict.fromkeys(vfs, (AWAY, HEALTHY, UNHEALTHY, AWAY))
    # Once the VFs are gone and before it is gone itself, the card has none.
    way = told.ways(CARDS)[pf]
    assert way[:4] == (AWAY, HEALTHY, UNHEALTHY, AWAY)
    assert way[4:] in {(), (HEALTHY, UNHEALTHY), (HEALTHY, UNHEALTHY, AWAY)}
    assert told.superfluous() == ()


def test_an_interface_that_a_pod_has(
    system: System, cards: Cards, listening: Listening, note: Note
) -> None:
    pf = cards.quiet
    pci.set_vfs(pf, 2, drivers=True)
    first, second = pci.vfs(pf)
    for vf in (first, second):
        heard(system.kubelet, VFS, vf, HEALTHY)
    name = net.interface(first)
    told = Told(system.kubelet, VFS, DPDK)
    with net.pod() as pid:
        began = monotonic()
        net.give(name, pid)
        listening.last("remove", f"/{name}", began)
        # What is told of another VF afterwards comes of a look that did not see the interface.
        pci.bind(second, "vfio-pci")
        heard(system.kubelet, DPDK, second, HEALTHY)
        began = monotonic()
        net.take_back(name, pid)
        back = listening.last("add", f"/{name}", began)
    pci.rebind(second, "igbvf")
    again = heard(system.kubelet, VFS, second, HEALTHY)
    assert again > back
    assert set(told.ways(VFS)) == set(told.ways(DPDK)) == {second}
    assert all(message.devices[first].health == HEALTHY for message in told.messages(VFS))
    assert told.superfluous() == ()
    note("a VF's interface goes to a pod and comes back", "not a word of it", again - began)


def test_an_interface_gets_another_name(system: System, cards: Cards, note: Note) -> None:
    pf = cards.quiet
    pci.set_vfs(pf, 2, drivers=True)
    vfs = pci.vfs(pf)
    for vf in vfs:
        heard(system.kubelet, VFS, vf, HEALTHY)
    heard(system.kubelet, CARDS, pf, AWAY)
    told = Told(system.kubelet, VFS, RENAMED, CARDS)
    try:
        began = monotonic()
        net.rename(net.QUIET, OTHER_NAME)
        came = max(heard(system.kubelet, RENAMED, vf, HEALTHY) for vf in vfs)
        for vf in vfs:
            heard(system.kubelet, VFS, vf, AWAY)
        note(f"{net.QUIET} is named {OTHER_NAME}", "VFs are in the pool of the name", came - began)
    finally:
        began = monotonic()
        net.rename(OTHER_NAME, net.QUIET)
    came = max(heard(system.kubelet, VFS, vf, HEALTHY) for vf in vfs)
    for vf in vfs:
        heard(system.kubelet, RENAMED, vf, AWAY)
    note("… and back", "VFs are where they were", came - began)
    # A name is one step; whoever of the VFs is looked at late may come alone.
    assert told.ways(VFS) == dict.fromkeys(vfs, (HEALTHY, AWAY, HEALTHY))
    assert told.ways(RENAMED) == dict.fromkeys(vfs, (AWAY, HEALTHY, AWAY))
    assert told.superfluous() == ()
    assert told.messages(CARDS) == ()

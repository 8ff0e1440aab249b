"""A PF's link goes down and comes up: its VFs, and the PF itself while it is a device."""

from collections.abc import Iterable
from time import monotonic

import pytest

from tests.e2e.kernel import net, pci
from tests.e2e.kernel.conftest import Note, reason
from tests.e2e.kernel.listening import LINK, Listening
from tests.e2e.kernel.net import Cards
from tests.e2e.kernel.pools import LINKED, LINKED_VFS
from tests.e2e.kernel.told import HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import NETWORK_NAME
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel

CABLE = f"{NETWORK_NAME}1"


def test_a_card_whose_link_goes_down(
    system: System, monitor: Qmp, cards: Cards, listening: Listening, note: Note
) -> None:
    pci.until(lambda: net.is_up(net.LINKED), what="its link is up")
    heard(system.kubelet, LINKED, cards.linked, HEALTHY)
    down_and_up(system, monitor, LINKED, (cards.linked,), listening, note)


def test_virtual_functions_whose_pfs_link_goes_down(
    system: System, monitor: Qmp, cards: Cards, listening: Listening, note: Note
) -> None:
    began = monotonic()
    pci.set_vfs(cards.linked, 2, drivers=True)
    # The driver resets its card to have VFs: the link goes down by itself, and comes back.
    listening.last(LINK, f"{net.LINKED} down", began)
    pci.until(lambda: net.is_up(net.LINKED), what="its link is up")
    vfs = pci.vfs(cards.linked)
    for vf in vfs:
        heard(system.kubelet, LINKED_VFS, vf, HEALTHY)
    down_and_up(system, monitor, LINKED_VFS, vfs, listening, note)


def down_and_up(
    system: System,
    monitor: Qmp,
    pool: str,
    devices: Iterable[str],
    listening: Listening,
    note: Note,
) -> None:
    """Pull the cable of the card and plug it again; its devices follow, all of them at once."""
    short = pool.partition("/")[2]
    told = Told(system.kubelet, pool)
    began = monotonic()
    monitor("set_link", name=CABLE, up=False)
    down = listening.last(LINK, f"{net.LINKED} down", began)
    fell = max(heard(system.kubelet, pool, device, UNHEALTHY) for device in devices)
    for device in devices:
        assert net.LINKED in reason(system, pool, device)
    note("a cable is pulled", "the kernel says so", down - began)
    note(f"… its word → {short}", f"Unhealthy: {reason(system, pool, device)}", fell - down)
    began = monotonic()
    monitor("set_link", name=CABLE, up=True)
    up = listening.last(LINK, f"{net.LINKED} up", began)
    rose = max(heard(system.kubelet, pool, device, HEALTHY) for device in devices)
    note("it is plugged again", "the kernel says so", up - began)
    note(f"… its word → {short}", "Healthy", rose - up)
    assert told.ways(pool) == dict.fromkeys(devices, (HEALTHY, UNHEALTHY, HEALTHY))
    # A link is one step, whatever hangs on it.
    assert len(told.messages(pool)) == 2

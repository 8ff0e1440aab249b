"""Network cards whose own interfaces are set down, lose their carrier, or are in a pod.

The cards are virtio's: their interfaces lie below a child of the PCI function.
"""

from time import monotonic

import pytest

from tests.e2e.kernel import net, pci
from tests.e2e.kernel.conftest import Note, explained, reason, rescan
from tests.e2e.kernel.listening import LINK, Listening
from tests.e2e.kernel.net import Nic
from tests.e2e.kernel.pools import NICS
from tests.e2e.kernel.told import HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel


def test_an_interface_below_a_child_of_the_function_is_its(
    system: System, nics: tuple[Nic, Nic], note: Note
) -> None:
    nic = nics[0]
    heard(system.kubelet, NICS, nic.address, HEALTHY)
    home = pci.DEVICES / nic.address
    (child,) = home.glob("virtio*")
    assert not (home / "net").exists()
    assert (child / "net" / nic.interface).is_dir()
    began = monotonic()
    said = explained(system, nic.interface)
    took = monotonic() - began
    assert (said.device, said.pool) == (nic.address, NICS)
    assert said.values["linkTypes"] == "ether"
    note(
        f"explain {nic.interface}, which is below {child.name}", "its function, of type ether", took
    )


def test_only_an_interface_that_is_set_up_can_lack_a_carrier(
    system: System, monitor: Qmp, nics: tuple[Nic, Nic], listening: Listening, note: Note
) -> None:
    nic, other = nics
    for one in nics:
        heard(system.kubelet, NICS, one.address, HEALTHY)
        assert not net.is_set_up(one.interface)
    began = monotonic()
    net.ip("link", "set", nic.interface, "up")
    # Since some version after 6.1, virtio_net has no carrier for a moment first.
    up = listening.last(LINK, f"{nic.interface} up", began)
    rescan(system)
    heard(system.kubelet, NICS, nic.address, HEALTHY)
    note("a virtio card's interface is set up", "it has carrier", up - began)

    told = Told(system.kubelet, NICS)
    began = monotonic()
    monitor("set_link", name=nic.qemu, up=False)
    down = listening.last(LINK, f"{nic.interface} down", began)
    fell = heard(system.kubelet, NICS, nic.address, UNHEALTHY)
    said = reason(system, NICS, nic.address)
    assert said == f"its link {nic.interface} is down (no carrier)"
    note("a card's cable is pulled while its interface is up", f"Unhealthy: {said}", fell - down)

    began = monotonic()
    net.ip("link", "set", nic.interface, "down")
    rose = heard(system.kubelet, NICS, nic.address, HEALTHY)
    note("… and the interface is set down", "Healthy: nobody needs it now", rose - began)
    monitor("set_link", name=nic.qemu, up=True)
    rescan(system)
    assert told.ways(NICS) == {nic.address: (HEALTHY, UNHEALTHY, HEALTHY)}
    assert told.superfluous() == ()
    assert all(one.devices[other.address].health == HEALTHY for one in told.messages(NICS))


def test_an_interface_that_a_pod_had_comes_back_set_down(
    system: System, nics: tuple[Nic, Nic], listening: Listening, note: Note
) -> None:
    nic = nics[0]
    heard(system.kubelet, NICS, nic.address, HEALTHY)
    told = Told(system.kubelet, NICS)
    began = monotonic()
    with net.pod() as pid:
        net.give(nic.interface, pid)
        listening.last("remove", f"/{nic.interface}", began)
        assert net.interfaces(nic.address) == ()
        rescan(system)
        assert explained(system, nic.address).pool == NICS
        net.in_pod(pid, "link", "set", nic.interface, "up")
        net.take_back(nic.interface, pid)
        listening.last("add", f"/{nic.interface}", began)
    assert not net.is_set_up(nic.interface), "the kernel closes it"
    rescan(system)
    system.kubelet.allocate(NICS, [[nic.address]])
    assert told.messages(NICS) == ()
    assert system.kubelet.resource(NICS).devices[nic.address].health == HEALTHY
    note(
        "a card's interface goes to a pod, is set up there, and comes back",
        "set down, Healthy, not a message",
        monotonic() - began,
    )

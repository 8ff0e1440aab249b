"""A function with several interfaces, the ports of a switch."""

from pathlib import Path
from time import monotonic

import pytest

from rbln_worker.host.netlink import rtnetlink
from rbln_worker.host.netlink.links import Port
from tests.e2e.kernel import net
from tests.e2e.kernel.conftest import Note, explained, reason, rescan
from tests.e2e.kernel.listening import LINK, Listening
from tests.e2e.kernel.pools import SWITCH
from tests.e2e.kernel.told import HEALTHY, UNHEALTHY, Told, heard
from tests.e2e.kernel.vm.machine import SWITCH_PORTS
from tests.e2e.kernel.vm.qmp import Qmp
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel


def test_rtnetlink_tells_the_ports_as_sysfs_does(switch: str) -> None:
    ports = rtnetlink.read_links().ports
    names = net.interfaces(switch)
    assert {ports[name].name for name in names} == {"p1", "p2"}
    for name in names:
        home = Path("/sys/class/net", name)
        told = (home / "phys_switch_id", home / "phys_port_name")
        assert ports[name] == Port(*(path.read_text().strip() for path in told))


def test_one_of_several_interfaces_is_enough(
    system: System, switch: str, monitor: Qmp, listening: Listening, note: Note
) -> None:
    named = rtnetlink.read_links().ports
    first, second = sorted(net.interfaces(switch), key=lambda name: named[name].name)
    heard(system.kubelet, SWITCH, switch, HEALTHY)
    for name in (first, second):
        began = monotonic()
        net.ip("link", "set", name, "up")
        listening.last(LINK, f"{name} up", began)
        assert explained(system, name).device == switch
    heard(system.kubelet, SWITCH, switch, HEALTHY)
    told = Told(system.kubelet, SWITCH)
    began = monotonic()
    monitor("set_link", name=SWITCH_PORTS[0], up=False)
    listening.last(LINK, f"{first} down", began)
    rescan(system)
    assert told.messages(SWITCH) == ()

    monitor("set_link", name=SWITCH_PORTS[1], up=False)
    down = listening.last(LINK, f"{second} down", began)
    fell = heard(system.kubelet, SWITCH, switch, UNHEALTHY)
    assert reason(system, SWITCH, switch).count("(no carrier)") == len(SWITCH_PORTS)
    note("both cables of a function with two interfaces are pulled", "Unhealthy", fell - down)

    monitor("set_link", name=SWITCH_PORTS[0], up=True)
    up = listening.last(LINK, f"{first} up", down)
    rose = heard(system.kubelet, SWITCH, switch, HEALTHY)
    note("… and one of them is plugged again", "Healthy", rose - up)
    monitor("set_link", name=SWITCH_PORTS[1], up=True)
    listening.last(LINK, f"{second} up", down)
    assert told.ways(SWITCH) == {switch: (HEALTHY, UNHEALTHY, HEALTHY)}

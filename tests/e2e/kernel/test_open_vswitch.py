"""A node whose address and default route are those of a bridge of Open vSwitch."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_worker.host.netlink import rtnetlink
from tests.e2e.kernel import net
from tests.e2e.kernel.conftest import NEVER_S, START_DEADLINE_S, Note, explained, rescan
from tests.e2e.kernel.net import Nic
from tests.e2e.kernel.ovs import OpenVSwitch
from tests.e2e.kernel.pools import NICS, nics_pool
from tests.e2e.kernel.told import AWAY, HEALTHY, heard
from tests.sim.system import System
from tests.system.scene import config

pytestmark = pytest.mark.by_kernel

BRIDGE = "br-ex"
UPLINK, BESIDE = 0, 1


@pytest.fixture(scope="module")
def switch(nics: tuple[Nic, Nic]) -> Iterator[OpenVSwitch]:
    """A bridge br-ex with a card as its port, and the node's route over it."""
    with tempfile.TemporaryDirectory(prefix="ov-", dir="/tmp") as folder:
        with OpenVSwitch(Path(folder)) as switch:
            uplink = nics[UPLINK].interface
            for nic in nics:
                net.ip("link", "set", nic.interface, "up")
            switch.vsctl("add-br", BRIDGE, "--", "add-port", BRIDGE, uplink)
            net.ip("link", "set", BRIDGE, "up")
            net.ip("addr", "add", "10.9.0.1/24", "dev", BRIDGE)
            net.ip("route", "add", "default", "via", "10.9.0.2", "dev", BRIDGE)
            yield switch
            switch.vsctl("del-br", BRIDGE)
        for nic in nics:
            net.ip("link", "set", nic.interface, "down")


@pytest.mark.usefixtures("switch")
def test_the_kernel_names_the_datapath_and_not_the_bridge(
    nics: tuple[Nic, Nic], note: Note
) -> None:
    """What ``links.below`` makes of it: every port of the datapath carries the route."""
    began = monotonic()
    links = rtnetlink.read_links()
    took = monotonic() - began
    named = {state.name: (index, state) for index, state in links.states.items()}
    datapath, _ = named["ovs-system"]
    _, bridge = named[BRIDGE]
    _, uplink = named[nics[UPLINK].interface]
    _, beside = named[nics[BESIDE].interface]
    assert named["ovs-system"][1].kind == bridge.kind == "openvswitch"
    assert (uplink.master, bridge.master, beside.master) == (datapath, None, None)
    assert links.carriers >= {BRIDGE, uplink.name}
    assert beside.name not in links.carriers
    note("rtnetlink: a card in br-ex", "enslaved to ovs-system, as br-ex is not", took)


@pytest.mark.usefixtures("switch")
def test_the_uplink_of_the_bridge_is_not_given_out(
    system: System, nics: tuple[Nic, Nic], note: Note
) -> None:
    began = monotonic()
    rescan(system)
    heard(system.kubelet, NICS, nics[UPLINK].address, AWAY)
    heard(system.kubelet, NICS, nics[BESIDE].address, HEALTHY)
    took = monotonic() - began
    assert explained(system, nics[BESIDE].interface).pool == NICS
    done = system.ctl("explain", nics[UPLINK].interface)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert nics[UPLINK].address in words
    assert RefusalReason.DEFAULT_ROUTE.text in words
    note(
        "default route over br-ex of Open vSwitch",
        "its port is refused, a card beside it is not",
        took,
    )


@pytest.mark.usefixtures("switch")
def test_the_uplink_of_the_bridge_is_given_out_where_that_is_allowed(
    nics: tuple[Nic, Nic], note: Note
) -> None:
    began = monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        System(
            config(nics_pool()),
            Path("/"),
            Path(folder),
            kubelet_dir=Path(folder, "k"),
            arguments=("--allow-default-route", "--rescan-interval", str(NEVER_S)),
        ) as system,
    ):
        system.kubelet.wait(
            lambda k: k.resource(NICS).allocatable == len(nics), START_DEADLINE_S, what="both cards"
        )
        system.kubelet.allocate(NICS, [[nics[UPLINK].address]])
    note("… with --allow-default-route", "both are given out", monotonic() - began)

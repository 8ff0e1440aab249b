"""What devlink and rtnetlink tell of an eswitch, by netdevsim: its devices are on no PCI bus.

So discovery can't find them. The functions that read the kernel's answers are asked here.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from rbln_supervisor.core.discovery.links import Links
from rbln_worker.host.discovery import netdev
from rbln_worker.host.netlink import rtnetlink
from rbln_worker.host.netlink.devlink import Devlink, KernelDevlink
from rbln_worker.host.netlink.links import Port
from tests.e2e.kernel import net, pci, programs
from tests.e2e.kernel.conftest import WITHOUT_BUILT, Note

pytestmark = pytest.mark.by_kernel

BUS: Final = Path("/sys/bus/netdevsim")
DEVICE: Final = "netdevsim7"
ENTRY: Final = BUS / "devices" / DEVICE
UPLINKS: Final = 2
VFS: Final = 2
WITHOUT_RIGHTS: Final = ("setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin")


@pytest.fixture
def eswitch() -> Iterator[Path]:
    """A device with two ports and two virtual functions, in legacy mode."""
    if why := os.environ[WITHOUT_BUILT]:
        pytest.skip(why)
    (BUS / "new_device").write_text(f"{DEVICE.removeprefix('netdevsim')} {UPLINKS}")
    pci.until(lambda: len(names()) == UPLINKS, what="its interfaces")
    (ENTRY / "sriov_numvfs").write_text(f"{VFS}")
    yield ENTRY
    (BUS / "del_device").write_text(DEVICE.removeprefix("netdevsim"))


def names() -> tuple[str, ...]:
    """Return the names of the device's interfaces."""
    return tuple(path.name for path in (ENTRY / "net").glob("*"))


def ports() -> dict[str, Port]:
    """Return what rtnetlink tells of the device's interfaces."""
    known = rtnetlink.read_links().ports
    return {name: known[name] for name in names()}


def set_mode(mode: str) -> None:
    """Set the mode of the eswitch, as an administrator would."""
    program, environment = programs.found("devlink")
    command = (program, "dev", "eswitch", "set", f"netdevsim/{DEVICE}", "mode", mode)
    subprocess.run(command, env=environment, check=True)


@pytest.mark.usefixtures("eswitch")
def test_devlink_tells_the_mode_of_an_eswitch(note: Note) -> None:
    devlink = Devlink(KernelDevlink("netdevsim"))
    assert devlink.is_switchdev(DEVICE) is False
    set_mode("switchdev")
    began = monotonic()
    assert devlink.is_switchdev(DEVICE) is True
    took = monotonic() - began
    assert devlink.rdma_enabled() == frozenset()
    assert devlink.is_switchdev("netdevsim8") is None
    note("devlink: the mode of an eswitch (netdevsim)", "legacy, then switchdev", took)


@pytest.mark.usefixtures("eswitch")
def test_devlink_tells_the_mode_to_cap_net_admin_alone() -> None:
    script = (
        "from tests.e2e.kernel.test_eswitch import DEVICE, Devlink, KernelDevlink\n"
        "print(Devlink(KernelDevlink('netdevsim')).is_switchdev(DEVICE))"
    )
    told = [
        subprocess.run(
            (*before, sys.executable, "-c", script), capture_output=True, text=True, check=True
        ).stdout.strip()
        for before in ((), WITHOUT_RIGHTS)
    ]
    assert told == ["False", "None"]


@pytest.mark.usefixtures("eswitch")
def test_representors_are_told_from_uplinks_with_and_without_the_mode(note: Note) -> None:
    uplinks = {name: port.name for name, port in ports().items()}
    assert sorted(uplinks.values()) == ["p1", "p2"]
    assert netdev.find_representors(ports(), switchdev=None) == frozenset()
    set_mode("switchdev")
    pci.until(lambda: len(names()) == UPLINKS + VFS, what="an interface for each VF")
    began = monotonic()
    told = ports()
    took = monotonic() - began
    others = told.keys() - uplinks
    assert {told[name].name for name in others} == {"pf0vf0", "pf0vf1"}
    assert len({port.switch_id for port in told.values()}) == 1
    for switchdev in (True, None):
        assert netdev.find_representors(told, switchdev=switchdev) == others
    shown = ", ".join(sorted(port.name for port in told.values()))
    note("rtnetlink: the ports of an eswitch (netdevsim)", shown, took)


@pytest.mark.usefixtures("eswitch")
def test_a_bond_of_an_eswitchs_uplinks_carries_its_virtual_functions() -> None:
    set_mode("switchdev")
    uplinks = {name: port.switch_id for name, port in ports().items() if netdev.is_uplink(port)}
    first, second = uplinks
    net.iproute("link add lag1 type bond mode active-backup miimon 100")
    try:
        net.iproute(
            *(f"link set {name} master lag1" for name in uplinks),
            "link set lag1 up",
        )
        assert carried_by(uplinks, up=True) == {first: True, second: True}
        net.iproute(f"link set {first} down")
        assert carried_by(uplinks, up=True) == {first: True, second: True}
        net.iproute(f"link set {second} down")
        assert carried_by(uplinks, up=False) == {first: False, second: False}
    finally:
        net.iproute("link del lag1")


def carried_by(uplinks: dict[str, str], *, up: bool) -> dict[str, bool]:
    """Return the state of the bond for each uplink, once the bond is up or down."""
    pci.until(lambda: net.is_up("lag1") == up, what=f"the bond is {'up' if up else 'down'}")
    table = Links().scan_finished(rtnetlink.read_links().states).link_table(uplinks)
    return {name: lag.up for name, lag in table.lags.items()}


@pytest.mark.usefixtures("eswitch")
def test_the_link_states_that_a_pf_sets_for_its_virtual_functions(note: Note) -> None:
    name = next(name for name, port in ports().items() if port.name == "p1")
    index = rtnetlink.read_links().indexes[name]
    assert rtnetlink.vf_link_states([index]) == {index: dict.fromkeys(range(VFS), "auto")}
    net.iproute(f"link set {name} vf 0 state enable", f"link set {name} vf 1 state disable")
    began = monotonic()
    assert rtnetlink.vf_link_states([index]) == {index: {0: "enable", 1: "disable"}}
    note("rtnetlink: link states of VFs (netdevsim)", "auto, enable, disable", monotonic() - began)

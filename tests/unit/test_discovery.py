"""One look at a simulated node: each fact, and what becomes of what is missing or broken."""

from collections.abc import Iterable
from pathlib import Path
from struct import pack
from typing import Final

import msgspec
import pytest

from rbln_worker.contract.device import AuxName, Bdf, Network, PciFunction, Vdpa
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.host.discovery import pci
from rbln_worker.host.discovery.ddp import DdpTool
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.network import NetworkReader
from rbln_worker.host.discovery.scan import scan_node
from rbln_worker.host.netlink import codec, links, rtnetlink
from rbln_worker.host.netlink.devlink import ESWITCH_GET, Devlink
from rbln_worker.host.netlink.links import Link, LinkTable
from rbln_worker.host.netlink.rtnetlink import VfLinkState
from tests.sim import device as sim
from tests.sim.device import Rdma, SimDevice, Subfunction
from tests.sim.node import SimNode

PF = "0000:5e:00.0"
EVERYTHING = Needs(
    frozenset({0x02, 0x12}), acpi_indexes=True, subfunctions=True, rdma=True, default_routes=True
)
WITHOUT_RDMA = msgspec.structs.replace(EVERYTHING, rdma=False)
NIC = SimDevice(PF, "8086", "1592", "020000", "ice", net=("eno1",), totalvfs=8)


@pytest.fixture
def node(tmp_path: Path) -> SimNode:
    return SimNode(tmp_path)


def found(node: SimNode, needs: Needs = EVERYTHING) -> DiscoveryResult:
    return scan_node(node.root, needs)


def function(node: SimNode, bdf: str) -> PciFunction:
    return found(node).node.functions[Bdf(bdf)]


def network(node: SimNode, bdf: str) -> Network:
    facts = function(node, bdf).network
    assert facts is not None
    return facts


# PCI


def test_a_function_is_described_whole(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, acpi_index=7, numa=1, parents=("0000:5d:00.0",)))
    (vf, *_) = node.enable_vfs(PF, 2, driver="iavf")
    assert function(node, PF) == PciFunction(
        *(Bdf(PF), "8086", "1592", 0x02, "ice", 1, "7"),
        has_vfs=True,
        sriov=True,
        bridges=(Bdf("0000:5d:00.0"),),
        network=Network(("eno1",), "ether"),
    )
    assert function(node, vf) == PciFunction(
        *(Bdf(vf), "8086", "1593", 0x02, "iavf", 1),
        pf=Bdf(PF),
        pf_names=("eno1",),
        index=0,
        bridges=(Bdf("0000:5d:00.0"),),
        network=Network((), "ether"),
    )


def test_bridges_from_the_root_port_down(node: SimNode) -> None:
    above = ("0000:00:01.0", "0000:01:00.0", "0000:02:10.0")
    node.add(SimDevice("0000:05:00.0", rbln="rbln0", parents=above))
    assert function(node, "0000:05:00.0").bridges == above


def test_numbers_of_virtual_functions_may_have_gaps(node: SimNode) -> None:
    node.add(NIC)
    vfs = node.enable_vfs(PF, 3, driver="iavf")
    node.renumber_vf(vfs[1], 7)
    assert [function(node, vf).index for vf in vfs] == [0, 7, 2]


def test_a_virtual_function_without_its_physical_one(node: SimNode) -> None:
    """As in a virtual machine."""
    node.add(msgspec.structs.replace(NIC, driver="iavf", totalvfs=None))
    alone = function(node, PF)
    assert (alone.pf, alone.pf_names, alone.index, alone.sriov) == (None, (), None, False)


def test_a_virtual_function_whose_pf_is_of_no_use(node: SimNode) -> None:
    node.add(NIC)
    (vf,) = node.enable_vfs(PF, 1, driver="iavf")
    node.set_attribute(PF, "modalias", None)
    assert list(found(node).node.unreadable) == [PF]
    assert (function(node, vf).index, function(node, vf).pf_names) == (0, ("eno1",))


def test_a_broken_physfn_leaves_the_device_out(node: SimNode) -> None:
    node.add(NIC)
    (vf,) = node.enable_vfs(PF, 1, driver="iavf")
    node.set_attribute(vf, "physfn", "nonsense\n")
    assert found(node).node.unreadable == {vf: "physfn: expected a link, Invalid argument"}


def test_only_what_is_needed_is_read(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, acpi_index=7), SimDevice("0000:01:00.0", rbln="rbln0"))
    few = found(node, Needs(frozenset({0x12})))
    assert list(few.node.functions) == ["0000:01:00.0"]
    assert found(node, Needs(frozenset({0x02}))).node.functions[Bdf(PF)].acpi_index == ""


def test_a_domain_of_five_digits(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, bdf="10000:e1:00.0"))
    (vf,) = node.enable_vfs("10000:e1:00.0", 1, driver="iavf")
    assert function(node, vf).pf == "10000:e1:00.0"


# Names of PFs, types of links


LEGACY: Final = codec.encode_attribute(25, pack("=H", 0))
SWITCHDEV: Final = codec.encode_attribute(25, pack("=H", 1))
"""DEVLINK_ATTR_ESWITCH_MODE."""


class Answers:
    """A kernel whose devlink says the mode of some."""

    def __init__(self, *switchdev: str, legacy: tuple[str, ...] = ()) -> None:
        self.switchdev = switchdev
        self.legacy = legacy
        self.asked: list[str] = []

    def __call__(self, command: int, device: str) -> tuple[bytes, ...]:
        assert command == ESWITCH_GET
        self.asked.append(device)
        if device in self.legacy:
            return (LEGACY,)
        return (SWITCHDEV,) if device in self.switchdev else ()


def described(node: SimNode, bdf: str, devlink: Answers, known: Iterable[Link] = ()) -> PciFunction:
    scan = pci.scan_functions(f"{node.root}", WITHOUT_RDMA)
    known_links = links.summarize_links(known, ())
    networks = NetworkReader(f"{node.root}", known_links, Devlink(devlink), DdpTool(), WITHOUT_RDMA)
    return networks.describe_function(scan.found[Bdf(bdf)]).function


def test_a_legacy_pf_is_called_like_each_of_its_interfaces(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, net=("zz0", "aa0")))
    (vf,) = node.enable_vfs(PF, 1, driver="iavf")
    assert function(node, vf).pf_names == ("aa0", "zz0")


@pytest.mark.parametrize(
    ("ports", "names", "told_by_nobody"),
    [
        ({"aa0": "pf0vf0", "bb0": "pf0vf1", "uplink9": "p0"}, ["uplink9"], ["uplink9"]),
        ({"aa0": "pf0sf88", "bb0": "c1pf0vf0", "cc0": "p1"}, ["cc0"], ["cc0"]),
        ({"aa0": "pf0hpf", "bb0": "p0s1", "cc0": "p0s0"}, ["bb0", "cc0"], ["bb0", "cc0"]),
        # A switch id, and no name for its port: before Linux 5.1, where others have numbers.
        ({"aa0": None, "bb0": "0", "cc0": "1"}, ["aa0"], ["a-bond-member", "aa0"]),
        ({"aa0": None, "uplink9": "p0"}, ["aa0", "uplink9"], ["uplink9"]),
        ({"aa0": "pf0vf0"}, [], ["a-bond-member"]),
        ({"aa0": "p0x", "bb0": "xp0"}, [], ["a-bond-member"]),
    ],
)
def test_in_switchdev_mode_it_is_the_uplink(
    node: SimNode, ports: dict[str, str | None], names: list[str], told_by_nobody: list[str]
) -> None:
    node.add(msgspec.structs.replace(NIC, driver="mlx5_core", net=("a-bond-member", *ports)))
    for interface, port in ports.items():
        node.set_interface(PF, interface, "phys_switch_id", "cafe\n")
        node.set_interface(PF, interface, "phys_port_name", port and f"{port}\n")
    vfs = node.enable_vfs(PF, 2, driver="mlx5_core")
    devlink = Answers(PF)
    assert described(node, vfs[0], devlink).pf_names == tuple(names)
    assert described(node, vfs[0], Answers()).pf_names == tuple(told_by_nobody)
    assert described(node, vfs[0], Answers(legacy=(PF,))).pf_names == ("a-bond-member", *ports)


def test_a_pf_is_asked_once_for_all_its_functions(node: SimNode) -> None:
    node.add(NIC)
    vfs = node.enable_vfs(PF, 4, driver="iavf")
    devlink = Answers(PF)
    scan = pci.scan_functions(f"{node.root}", WITHOUT_RDMA)
    networks = NetworkReader(f"{node.root}", LinkTable(), Devlink(devlink), DdpTool(), WITHOUT_RDMA)
    for vf in vfs:
        networks.describe_function(scan.found[Bdf(vf)])
    assert devlink.asked == [PF]


def test_rtnetlink_knows_types_better_than_sysfs(node: SimNode) -> None:
    node.add(NIC)
    (vf,) = node.enable_vfs(PF, 1, driver="vfio-pci")
    (link,) = known = (Link(2, "eno1", 32),)
    facts = described(node, vf, Answers(), known).network
    assert (facts and facts.link_type, links.type_name(link.type)) == ("infiniband", "infiniband")


def test_link_states_that_a_pf_sets(node: SimNode) -> None:
    """Asked of the kernel once for each PF."""
    node.add(NIC)
    vfs = node.enable_vfs(PF, 3, driver="vfio-pci")
    scan = pci.scan_functions(f"{node.root}", WITHOUT_RDMA)
    known = links.summarize_links([Link(7, "eno1", 1)], ())
    networks = NetworkReader(f"{node.root}", known, Devlink(Answers()), DdpTool(), WITHOUT_RDMA)
    asked: list[int] = []

    def said(indexes: Iterable[int]) -> dict[int, dict[int, VfLinkState]]:
        asked.extend(indexes)
        return {7: {0: "enable", 2: "auto"}}

    networks.read_vf_link_states(scan.found.values(), said)
    described = [networks.describe_function(scan.found[Bdf(one)]).function for one in (PF, *vfs)]
    assert [one.vf_link_state for one in described] == ["", "enable", "", "auto"]
    assert asked == [7]


# Where interfaces lie


@pytest.mark.parametrize(
    "child", ["virtio3", "vdpa0/virtio1", "ssb0:0", "hinic3.nic.0", "usb1/1-1/1-1:1.0"]
)
def test_an_interface_below_a_child_is_the_functions(node: SimNode, child: str) -> None:
    bridged = msgspec.structs.replace(NIC, net_below=child, parents=("0000:5d:00.0",))
    node.add(bridged)
    (vf,) = node.enable_vfs(PF, 1, driver="vfio-pci")
    assert network(node, PF) == Network(("eno1",), "ether")
    assert function(node, vf).pf_names == ("eno1",)
    node.set_attribute(PF, f"{child}/net/eno1/type", "32\n")
    assert network(node, PF).link_type == "infiniband"
    node.tree.remove(f"{node.home(PF)}/{child}/net/eno1")  # a dangling entry is left of it
    assert network(node, PF).interfaces == ()


def test_an_interface_below_a_sub_functions_child_is_the_sub_functions(node: SimNode) -> None:
    node.add(BLUEFIELD)
    own = f"{node.home('0000:03:00.0')}/mlx5_core.sf.4/mlx5_core.vnet.4/vdpa0/virtio1/net/eth9"
    node.tree.write(f"{own}/type", "1\n")
    node.tree.link("/sys/class/net/eth9", own)
    (listed,) = found(node).node.subfunctions.values()
    interfaces = {one.name: one.network.interfaces for one in listed}
    assert interfaces[AuxName("mlx5_core.sf.4")] == ("en3f0s88", "eth9")
    assert network(node, "0000:03:00.0").interfaces == ("p0",)


def test_odd_entries_of_the_class_are_nobodys(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, net_below="virtio0"))
    node.tree.write("/sys/class/net/bonding_masters", "bond0\n")
    node.tree.at("/sys/class/net/\udcff").symlink_to("/nowhere")
    node.tree.at("/sys/class/net/short").symlink_to("x")
    node.tree.at("/sys/class/net/far").symlink_to(f"../../devices/{PF}/../../net/far")
    node.tree.link("/sys/class/net/veth0", "/sys/devices/virtual/net/veth0")
    assert network(node, PF).interfaces == ("eno1",)
    assert found(node).problems == ()


# InfiniBand


@pytest.mark.parametrize(
    ("layers", "ports", "only"),
    [
        (["InfiniBand"], ["mlx4_0/1"], True),
        (["InfiniBand", "InfiniBand"], ["mlx4_0/1", "mlx4_0/2"], True),
        (["InfiniBand", "Ethernet"], ["mlx4_0/1"], False),
        (["Ethernet", "Ethernet"], [], False),
        (["Unspecified"], [], False),  # EFA
        ([None], [], False),
    ],
)
def test_ports_whose_link_layer_is_infiniband(
    node: SimNode, layers: list[str | None], ports: list[str], *, only: bool
) -> None:
    node.add(msgspec.structs.replace(NIC, rdma=Rdma("mlx4_0", 0)))
    (vf,) = node.enable_vfs(PF, 1, driver="vfio-pci")
    for number, layer in enumerate(layers, start=1):
        layer_file = f"infiniband/mlx4_0/ports/{number}/link_layer"
        node.set_attribute(PF, layer_file, layer and f"{layer}\n")
    for one in (network(node, PF), network(node, vf)):  # the VF has its PF's
        assert (list(one.ib_ports), one.ib_only) == (ports, only)


def test_a_virtual_functions_own_ports_come_before_its_pfs(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, rdma=Rdma("mlx5_0", 0, "InfiniBand")))
    vf = SimDevice("0000:5e:00.1", pf=PF, driver="mlx5_core", code="020000")
    node.add(msgspec.structs.replace(vf, rdma=Rdma("mlx5_1", 1, "InfiniBand")))
    assert network(node, "0000:5e:00.1").ib_ports == ("mlx5_1/1",)


# Modes that devlink does not tell


@pytest.mark.parametrize(
    ("devlink", "problems"), [(Answers(), 1), (Answers(PF), 0), (Answers(legacy=(PF,)), 0)]
)
def test_a_mode_that_can_not_be_read_is_said(
    node: SimNode, devlink: Answers, problems: int
) -> None:
    node.add(msgspec.structs.replace(NIC, net=("p0", "p0_0")))
    (vf,) = node.enable_vfs(PF, 1, driver="vfio-pci")
    for interface, port in (("p0", "p0"), ("p0_0", "pf0vf0")):
        node.set_interface(PF, interface, "phys_switch_id", "cafe\n")
        node.set_interface(PF, interface, "phys_port_name", f"{port}\n")
    scan = pci.scan_functions(f"{node.root}", WITHOUT_RDMA)
    networks = NetworkReader(f"{node.root}", LinkTable(), Devlink(devlink), DdpTool(), WITHOUT_RDMA)
    described = [networks.describe_function(scan.found[Bdf(one)]).function for one in (PF, vf)]
    assert len(networks.problems) == problems
    assert described[0].network is not None
    is_legacy = bool(devlink.legacy)
    assert described[0].network.switch_id == ("" if is_legacy else "cafe")
    assert described[1].pf_names == (("p0", "p0_0") if is_legacy else ("p0",))


def test_what_rtnetlink_says_of_ports_is_not_asked_of_sysfs(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, net=("p0", "p0_0")))
    (vf,) = node.enable_vfs(PF, 1, driver="vfio-pci")
    known = (
        Link(7, "p0", 1, switch_id="cafe", port_name="p0"),
        Link(8, "p0_0", 1, switch_id="cafe", port_name="pf0vf0"),
    )
    assert described(node, vf, Answers(), known).pf_names == ("p0",)


def test_links_are_told_with_network_functions_only(node: SimNode) -> None:
    npu = SimDevice("0000:01:00.0", rbln="rbln0")
    node.add(npu)
    assert found(node).links == {}
    node.add(NIC)
    assert found(node).links == rtnetlink.read_links().states
    assert found(node).links[1].name == "lo"


@pytest.mark.parametrize(
    ("number", "word"),
    [("32\n", "infiniband"), ("0\n", "generic"), ("4711\n", "unknown4711"), ("x", ""), (None, "")],
)
def test_a_link_that_rtnetlink_does_not_know_has_the_type_of_sysfs(
    node: SimNode, number: str | None, word: str
) -> None:
    node.add(NIC)
    node.set_interface(PF, "eno1", "type", number)
    assert network(node, PF).link_type == word
    assert found(node).problems == ()


def test_a_pkey_is_of_infiniband_only(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, rdma=Rdma("mlx5_0", 0)))
    node.set_attribute(PF, "infiniband/mlx5_0/ports/1/pkeys/0", "0x8001\n")
    assert network(node, PF).pkey == ""
    node.set_interface(PF, "eno1", "type", "32\n")
    assert network(node, PF).pkey == "0x8001"
    node.set_attribute(PF, "infiniband/mlx5_0/ports/1/pkeys/0", "\x1b[31m")
    assert network(node, PF).pkey == ""


def test_rdma_devices_by_name(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, rdma=Rdma("mlx5_9", 9)))
    node.tree.directory(f"{node.home(PF)}/infiniband/mlx5_10")
    assert network(node, PF).rdma == ("mlx5_10", "mlx5_9")
    assert network(node, PF).rdma_capable


def test_without_rdma_devices_it_is_not_capable(node: SimNode) -> None:
    node.add(NIC)
    node.tree.directory(f"{node.home(PF)}/infiniband")
    assert (network(node, PF).rdma, network(node, PF).rdma_capable) == ((), False)


# vDPA


@pytest.mark.parametrize(
    ("driver", "kind"),
    [("vhost_vdpa", "vhost"), ("virtio_vdpa", "virtio"), ("other_vdpa", ""), (None, "")],
)
def test_vdpa_by_the_bound_driver(node: SimNode, driver: str | None, kind: str) -> None:
    node.add(msgspec.structs.replace(NIC, vdpa=sim.Vdpa("vdpa2", driver)))
    facts = network(node, PF).vdpa
    assert facts is not None
    assert (facts.name, facts.kind) == ("vdpa2", kind)


def test_one_broken_vdpa_device_hides_no_other(node: SimNode) -> None:
    node.add(msgspec.structs.replace(NIC, vdpa=sim.Vdpa("vdpa1")))
    node.tree.write("/sys/bus/vdpa/devices/vdpa0", "no link")
    node.tree.at("/sys/bus/vdpa/devices/\udcff").symlink_to("/nowhere")
    node.tree.directory("/sys/bus/vdpa/devices/vdpa3")
    assert network(node, PF).vdpa == Vdpa("vdpa1", "vhost")


# Sub-functions

BLUEFIELD = SimDevice(
    *("0000:03:00.0", "15b3", "a2d6", "020000", "mlx5_core"),
    net=("p0",),
    sfs=(
        Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",), Rdma("mlx5_4", 4)),
        Subfunction("mlx5_core.sf.10", 89),
        Subfunction("mlx5_core.eth.0", 90),
    ),
)


def test_subfunctions(node: SimNode) -> None:
    node.add(BLUEFIELD)
    (listed,) = found(node).node.subfunctions.values()
    assert [(one.name, one.kind, one.number, one.pf, one.pf_names) for one in listed] == [
        ("mlx5_core.eth.0", "eth", 90, "0000:03:00.0", ("p0",)),
        ("mlx5_core.sf.10", "sf", 89, "0000:03:00.0", ("p0",)),
        ("mlx5_core.sf.4", "sf", 88, "0000:03:00.0", ("p0",)),
    ]
    assert listed[1].network == Network((), "ether")
    assert listed[2].network == Network(("en3f0s88",), "ether", "", ("mlx5_4",), rdma_capable=True)


def test_an_uplink_names_the_pf_of_a_subfunction_in_any_mode(node: SimNode) -> None:
    node.add(msgspec.structs.replace(BLUEFIELD, net=("en3f0pf0sf88", "p0")))
    for interface, port in (("en3f0pf0sf88", "pf0sf88"), ("p0", "p0")):
        node.set_interface("0000:03:00.0", interface, "phys_switch_id", "cafe\n")
        node.set_interface("0000:03:00.0", interface, "phys_port_name", f"{port}\n")
    (listed,) = found(node).node.subfunctions.values()
    assert {one.pf_names for one in listed} == {("p0",)}


def test_what_is_no_subfunction(node: SimNode) -> None:
    node.add(msgspec.structs.replace(BLUEFIELD, sfs=()))
    home = node.home("0000:03:00.0")
    node.tree.directory(f"{home}/mlx5_core.rdma.0")  # a part of the driver: no sfnum
    node.tree.write(f"{home}/a.b.c.7/sfnum", "1\n")
    node.tree.write(f"{home}/mlx5_core.sf.5", "no directory")
    node.tree.write(f"{home}/elsewhere/sfnum", "6\n")
    node.tree.link(f"{home}/mlx5_core.sf.6", f"{home}/elsewhere")
    assert found(node).node.subfunctions == {}
    assert found(node).node.unreadable == {}


@pytest.mark.parametrize(
    ("sfnum", "why"),
    [(None, "sfnum: No such file"), ("-1\n", "sfnum: expected a number"), ("", "got ''")],
)
def test_a_subfunction_without_its_number(node: SimNode, sfnum: str | None, why: str) -> None:
    node.add(BLUEFIELD)
    node.set_attribute("0000:03:00.0", "mlx5_core.sf.4/sfnum", sfnum)
    ((name, told),) = found(node).node.unreadable.items()
    assert name == "mlx5_core.sf.4"
    assert why in told


def test_subfunctions_of_a_function_without_interface(node: SimNode) -> None:
    node.add(msgspec.structs.replace(BLUEFIELD, net=()))
    told = found(node).node.unreadable
    assert told["mlx5_core.sf.4"] == "its PCI function 0000:03:00.0 has no network interface"
    assert found(node).node.subfunctions == {}


def test_vdpa_of_a_subfunction(node: SimNode) -> None:
    node.add(BLUEFIELD)
    own = f"{node.home('0000:03:00.0')}/mlx5_core.sf.4/mlx5_core.vnet.4/vdpa0"
    node.tree.directory(own)
    node.tree.link("/sys/bus/vdpa/devices/vdpa0", own)
    node.tree.link(f"{own}/driver", "/sys/bus/vdpa/drivers/vhost_vdpa")
    (listed,) = found(node).node.subfunctions.values()
    by_name = {one.name: one.network.vdpa for one in listed}
    assert by_name[AuxName("mlx5_core.sf.4")] == Vdpa("vdpa0", "vhost")
    assert network(node, "0000:03:00.0").vdpa is None


# The node


def test_a_node_without_pci_keeps_what_was_known(tmp_path: Path) -> None:
    failed = scan_node(tmp_path, EVERYTHING).failed or ""
    assert failed.endswith(": /sys/bus/pci/devices: No such file or directory")

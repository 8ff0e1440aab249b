"""The PCI functions of a node, as its sysfs describes them."""

from pathlib import Path

import pytest

from rbln_worker.contract.device import PciFunction
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim.device import SimDevice
from tests.sim.node import SimNode

ACCELERATORS = frozenset({0x12})
NPU = SimDevice("0000:20:00.0", rbln="rbln0", totalvfs=8, numa=1, acpi_index=5)


@pytest.fixture
def node(tmp_path: Path) -> SimNode:
    node = SimNode(tmp_path)
    node.add(NPU)
    return node


def look(node: SimNode, *, acpi_indexes: bool = False) -> NodeInventory:
    found = scan_node(node.root, Needs(base_classes=ACCELERATORS, acpi_indexes=acpi_indexes))
    assert found.failed is None
    return found.node


def only(node: SimNode, *, acpi_indexes: bool = False) -> PciFunction:
    found = look(node, acpi_indexes=acpi_indexes)
    assert found.unreadable == {}
    (function,) = found.functions.values()
    return function


def test_a_function(node: SimNode) -> None:
    assert only(node) == PciFunction(
        bdf=only(node).bdf,
        vendor="1eff",
        product="1120",
        base_class=0x12,
        driver="rebellions",
        numa_node=1,
        sriov=True,
    )
    assert only(node).bdf == "0000:20:00.0"


def test_the_slots_index_is_read_only_where_it_is_asked_for(node: SimNode) -> None:
    assert only(node).acpi_index == ""
    assert only(node, acpi_indexes=True).acpi_index == "5"
    node.set_attribute(NPU.bdf, "acpi_index", None)
    assert only(node, acpi_indexes=True).acpi_index == ""


def test_virtual_functions_are_seen_by_their_links(node: SimNode) -> None:
    assert not only(node).has_vfs
    vfs = node.enable_vfs(NPU.bdf, 2)
    found = look(node).functions
    assert [str(bdf) for bdf in found] == [NPU.bdf, *vfs]
    assert [function.has_vfs for function in found.values()] == [True, False, False]
    assert {function.product for function in found.values()} == {"1120", "1121"}
    node.disable_vfs(NPU.bdf)
    assert not only(node).has_vfs


def test_no_driver(node: SimNode) -> None:
    node.unbind(NPU.bdf)
    assert only(node).driver is None


@pytest.mark.parametrize(
    ("text", "numa"),
    [
        ("0\n", 0),
        ("1023\n", 1023),
        ("-1\n", None),
        ("1024\n", None),
        ("4294967295\n", None),
        ("9" * 5000, None),
        ("", None),
        ("x\n", None),
        (None, None),
    ],
)
def test_numa_nodes(node: SimNode, text: str | None, numa: int | None) -> None:
    node.set_attribute(NPU.bdf, "numa_node", text)
    assert only(node).numa_node == numa


def test_other_classes_are_not_even_described(node: SimNode) -> None:
    nic = SimDevice("0000:21:00.0", vendor="15b3", device="1018", code="020000", driver="mlx5_core")
    node.add(nic)
    node.tree.write(f"{node.home(nic.bdf)}/driver", "nonsense of no interest")
    assert only(node).bdf == NPU.bdf
    every = scan_node(node.root, Needs(base_classes=frozenset({0x12, 0x02})))
    assert list(every.node.unreadable) == [nic.bdf]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("0000:21:00.0", True),
        ("10000:e1:1f.7", True),
        ("0000:21:00.8", False),
        ("0000:21:00", False),
        ("pci0000:00", False),
        ("0000:2G:00.0", False),
        ("0000:21:00.0\n", False),
        (".hidden", False),
    ],
)
def test_only_addresses_are_functions(node: SimNode, name: str, *, is_one: bool) -> None:
    node.tree.link(f"/sys/bus/pci/devices/{name}", node.home(NPU.bdf))
    assert len(look(node).functions) == 1 + is_one


def test_functions_are_sorted(node: SimNode) -> None:
    node.add(*(SimDevice(f"0000:{bus:02x}:00.0", rbln=f"rbln{bus}") for bus in (0x30, 1, 0x11)))
    addresses = list(look(node).functions)
    assert addresses == sorted(addresses)
    assert len(addresses) == 4


def test_without_identity_it_is_unreadable(node: SimNode) -> None:
    for text in (None, "", "pci:v00001EFF", node.devices[NPU.bdf].modalias.lower()):
        node.set_attribute(NPU.bdf, "modalias", text)
        found = look(node)
        assert found.functions == {}
        ((bdf, why),) = found.unreadable.items()
        assert bdf == NPU.bdf
        assert why.startswith("modalias: ")


def test_no_bus_is_a_failure_and_not_an_empty_node(tmp_path: Path) -> None:
    found = scan_node(tmp_path, Needs(base_classes=ACCELERATORS))
    why = "/sys/bus/pci/devices: No such file or directory"
    assert found == DiscoveryResult(failed=f"the node's devices can't be listed: {why}")

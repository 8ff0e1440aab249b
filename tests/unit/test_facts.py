"""What a device's driver and /dev say of it."""

from pathlib import Path

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.core.facts import Facts, Missing
from rbln_worker.host.facts import missing_nodes, read
from tests.sim.device import SimDevice
from tests.sim.node import RBLN_STAT, SimNode

BDF = "0000:20:00.0"


@pytest.fixture
def node(tmp_path: Path) -> SimNode:
    return SimNode(tmp_path)


def facts(node: SimNode, *, vendor: str = "1eff", host_visible: bool = True) -> Facts:
    function = PciFunction(Bdf(BDF), vendor, "1120", 0x12, node.devices[BDF].driver, 0)
    return read(node.root, Device(DeviceId(BDF), function), host_visible=host_visible)


def test_an_npu(node: SimNode) -> None:
    node.add(SimDevice(BDF, rbln="rbln3"))
    assert facts(node) == Facts(rbln_node="rbln3", rsd_there=True)
    node.remove_dev_node("rsd0")
    assert not facts(node).rsd_there
    node.tree.remove(RBLN_STAT)
    assert not facts(node).tool_there
    assert facts(node, host_visible=False).tool_there


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("header\nrbln0 0 4\n", "rbln0"),
        ("header\n  rbln12\t0\n", "rbln12"),
        ("header\nrbln12", "rbln12"),
        ("header\r\nrbln7 \r\n", "rbln7"),
        ("\nrbln7\nrbln8\n", "rbln7"),
    ],
)
def test_a_pools_file(node: SimNode, text: str, name: str) -> None:
    node.add(SimDevice(BDF, rbln="rbln3"))
    node.set_pools(BDF, text)
    assert facts(node).rbln_node == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("", "expected a second line that names the node, got 0"),
        ("header\n", "expected a second line that names the node, got 1"),
        ("header\n\n", "expected a node name such as rbln0, got ''"),
        ("header\n../../x 0\n", "got '../../x'"),
        ("header\n/dev/rbln0 0\n", "got '/dev/rbln0'"),
        ("header\nrbln 0\n", "got 'rbln'"),
        ("header\nRBLN0 0\n", "got 'RBLN0'"),
        ("header\nrbln1234567 0\n", "got 'rbln1234567'"),
        ("header\nrbln\u0661 0\n", "got 'rbln\u0661'"),
        ("header\n" + "x" * 100_000, f"got '{'x' * 40}'"),
    ],
)
def test_a_pools_file_that_names_no_node(node: SimNode, text: str | None, why: str) -> None:
    node.add(SimDevice(BDF, rbln="rbln3"))
    node.set_pools(BDF, text)
    found = facts(node).rbln_node
    assert isinstance(found, Missing)
    assert found.why.startswith(f"/sys/bus/pci/drivers/rebellions/{BDF}/pools: ")
    assert why in found.why


def test_vfio(node: SimNode) -> None:
    node.add(SimDevice(BDF, driver="vfio-pci", iommu=7))
    assert facts(node) == Facts(iommu_group="7")
    node.set_attribute(BDF, "iommu_group", None)
    assert facts(node).iommu_group == Missing("iommu_group: No such file or directory")


def test_vfio_without_an_iommu(node: SimNode) -> None:
    node.add(SimDevice(BDF, driver="vfio-pci", iommu=7, noiommu=True))
    assert facts(node) == Facts(iommu_group="7", noiommu=True)


def test_a_group_that_is_no_number(node: SimNode) -> None:
    node.add(SimDevice(BDF, driver="vfio-pci", iommu=7))
    for name in ("x", "7a", "\u0667", "..7"):
        node.tree.link(f"{node.home(BDF)}/iommu_group", f"/sys/kernel/iommu_groups/{name}")
        found = facts(node).iommu_group
        assert isinstance(found, Missing)
        assert found.why.startswith("iommu_group: expected a number, got ")


def test_drivers_that_need_nothing(node: SimNode) -> None:
    node.add(SimDevice(BDF, vendor="8086", driver="dfl-pci"))
    assert facts(node, vendor="8086") == Facts()
    node.bind(BDF, "rebellions")  # a driver of that name for somebody else's device
    assert facts(node, vendor="8086") == Facts()


def test_missing_nodes(node: SimNode) -> None:
    node.add_dev_node("rbln0")
    assert missing_nodes(node.root, ("/dev/rbln0", "/dev/rbln1", "/dev/vfio/7")) == (
        "/dev/rbln1",
        "/dev/vfio/7",
    )

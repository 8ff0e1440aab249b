"""The simulated node shows functions as Linux does; tests/e2e/kernel asks Linux the same."""

from pathlib import Path

import pytest

from tests.sim import conformance, shape
from tests.sim.device import SimDevice
from tests.sim.drivers import parts_of
from tests.sim.node import SimNode

PF = SimDevice(
    bdf="0000:41:00.0", device="1220", rbln="rbln0", iommu=14, totalvfs=4, parents=("0000:40:00.0",)
)
NIC = SimDevice(bdf="0000:03:00.0", vendor="8086", code="020000", driver="vfio-pci", iommu=3)


@pytest.fixture
def node(short_path: Path) -> SimNode:
    return SimNode(short_path)


def complaints(node: SimNode) -> list[str]:
    return [line for bdf in node.devices for line in shape.complaints(node.root, bdf)]


def test_functions_of_every_kind(node: SimNode) -> None:
    node.add(PF, NIC)
    vfs = node.enable_vfs(PF.bdf, 4)
    assert complaints(node) == []
    node.bind(vfs[0], "vfio-pci")
    node.unbind(vfs[1])
    assert complaints(node) == []
    node.disable_vfs(PF.bdf)
    assert complaints(node) == []


def test_nothing_is_there_that_linux_has_not(node: SimNode) -> None:
    node.add(PF)
    (vf,) = node.enable_vfs(PF.bdf, 1)
    for bdf, more in ((PF.bdf, {*shape.PF_FILES, "virtfn0"}), (vf, {"physfn"})):
        drivers = parts_of(node.devices[bdf], node.home(bdf))
        theirs = {path.removeprefix(node.home(bdf)).split("/")[1] for path in drivers.files}
        shown = {path.name for path in node.tree.at(node.home(bdf)).iterdir()} - theirs
        assert shown <= {*shape.UNIFORM, *shape.PERHAPS, *more, "driver", "iommu_group"}


@pytest.mark.parametrize("name", conformance.names())
def test_recorded_nodes(node: SimNode, name: str) -> None:
    conformance.load(name).node.build(node)
    assert complaints(node) == []


def test_what_differs_is_told(node: SimNode) -> None:
    node.add(NIC)
    node.set_attribute(NIC.bdf, "class", "0x2\n")
    node.remove_dev_node("vfio/3")
    told = complaints(node)
    assert f"{NIC.bdf}: class holds '0x2\\n'" in told
    assert f"{NIC.bdf}: no /dev/vfio/3" in told

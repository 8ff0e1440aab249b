"""The simulated node is laid out as Linux has it, and changes as hardware changes it."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.sim import conformance
from tests.sim.device import Rdma, SimDevice, Subfunction, shift
from tests.sim.node import SimNode
from tests.sim.nodes import demo, npus
from tests.sim.tree import Tree

NPU = SimDevice(bdf="0000:20:00.0", iommu=50, rbln="rbln0")


@pytest.fixture
def node(short_path: Path) -> SimNode:
    return SimNode(short_path)


def read(node: SimNode, path: str) -> str:
    return node.tree.at(path).read_text()


def paths(node: SimNode) -> list[Path]:
    return [
        Path(folder, name)
        for folder, folders, files in os.walk(node.root)
        for name in (*folders, *files)
    ]


def dev(node: SimNode) -> set[str]:
    top = node.root / "dev"
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def everything(node: SimNode) -> set[str]:
    """Every file and link with its content or target, directories that hold none left out."""
    return {
        f"{path} -> {path.readlink()}" if path.is_symlink() else f"{path}: {path.read_bytes()!r}"
        for path in paths(node)
        if path.is_symlink() or path.is_file()
    }


def test_a_function_and_its_links(node: SimNode) -> None:
    node.add(NPU)
    entry = node.root / "sys/bus/pci/devices/0000:20:00.0"
    assert os.fspath(entry.readlink()) == "../../../devices/pci0000:20/0000:20:00.0"
    assert read(node, "/sys/bus/pci/devices/0000:20:00.0/vendor") == "0x1eff\n"
    assert read(node, "/sys/bus/pci/devices/0000:20:00.0/class") == "0x120000\n"
    assert read(node, "/sys/bus/pci/devices/0000:20:00.0/modalias") == (
        "pci:v00001EFFd00001120sv00000000sd00000000bc12sc00i00\n"
    )
    assert (entry / "driver").resolve() == node.root / "sys/bus/pci/drivers/rebellions"
    assert (entry / "iommu_group").resolve().name == "50"
    assert (entry / "config").read_bytes()[:4] == b"\xff\x1e\x20\x11"
    assert "DRIVER=rebellions\n" in read(node, "/sys/bus/pci/devices/0000:20:00.0/uevent")
    assert not Path(entry.readlink()).is_absolute()


def test_a_function_lies_below_its_bridges(node: SimNode) -> None:
    bridges = ("0000:10:01.0", "0000:11:00.0")
    node.add(SimDevice(bdf="0000:15:00.0", rbln="rbln0", parents=bridges))
    node.add(SimDevice(bdf="0000:16:00.0", rbln="rbln1", parents=bridges))
    real = (node.root / "sys/bus/pci/devices/0000:15:00.0").resolve()
    assert real == node.root / "sys/devices/pci0000:10/0000:10:01.0/0000:11:00.0/0000:15:00.0"
    assert read(node, "/sys/bus/pci/devices/0000:11:00.0/class") == "0x060400\n"


def test_what_the_rebellions_driver_shows(node: SimNode) -> None:
    node.add(NPU)
    assert read(node, "/sys/bus/pci/drivers/rebellions/0000:20:00.0/pools") == (
        "poolinfo - 0.1\nrbln0               0    4 1024  1\n"
    )
    assert read(node, "/sys/class/rebellions/rbln0/status") == "0\n"
    assert read(node, "/sys/class/rebellions/rbln0/card_name") == "RBLN-CA12\n"
    assert dev(node) == {"rbln0", "rsd0"}
    assert (node.root / "usr/local/bin/rbln-stat").exists()


def test_another_driver_takes_the_place_of_the_first(node: SimNode) -> None:
    node.add(NPU)
    node.bind(NPU.bdf, "vfio-pci")
    assert dev(node) == {"vfio/vfio", "vfio/50"}
    assert not (node.root / "sys/bus/pci/devices/0000:20:00.0/pools").exists()
    assert not list((node.root / "sys/bus/pci/drivers/rebellions").iterdir())
    node.bind(NPU.bdf, "rebellions")
    assert dev(node) == {"rbln0", "rsd0"}


def test_unbinding_and_binding_again_changes_nothing(node: SimNode) -> None:
    demo(node)
    before = everything(node)
    for bdf in node.devices:
        driver = node.devices[bdf].driver
        assert driver is not None
        node.unbind(bdf)
        assert not (node.root / f"sys/bus/pci/devices/{bdf}/driver").is_symlink()
        node.bind(bdf, driver)
    assert everything(node) == before


def test_removing_leaves_nothing(node: SimNode) -> None:
    before = everything(node)
    demo(node)
    for bdf in tuple(node.devices):
        node.remove(bdf)
    left = everything(node) - before
    assert [name for name in left if "rbln-stat" not in name] == []


def test_virtual_functions(node: SimNode) -> None:
    node.add(SimDevice(bdf="0000:3b:00.0", device="1220", rbln="rbln0", iommu=1, totalvfs=32))
    vfs = node.enable_vfs("0000:3b:00.0", 9)
    assert vfs[6:8] == ("0000:3b:00.7", "0000:3b:01.0")
    home = node.root / "sys/bus/pci/devices/0000:3b:00.0"
    assert (home / "sriov_numvfs").read_text() == "9\n"
    assert [(home / f"virtfn{n}").resolve().name for n in range(9)] == list(vfs)
    assert (home / "virtfn3/physfn").resolve() == home.resolve()
    assert read(node, f"/sys/bus/pci/devices/{vfs[0]}/device") == "0x1221\n"
    assert dev(node) == {*(f"rbln{n}" for n in range(10)), "rsd0"}
    node.disable_vfs("0000:3b:00.0")
    assert (home / "sriov_numvfs").read_text() == "0\n"
    assert not list(home.glob("virtfn*"))
    assert dev(node) == {"rbln0", "rsd0"}


def test_virtual_functions_are_counted_over_the_bus_border() -> None:
    assert shift("0000:3b:1f.7", 1) == "0000:3c:00.0"


class Diary(Tree):
    """A tree that writes down what was made and removed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.made: list[str] = []
        self.removed: list[str] = []

    def write(self, path: str | Path, content: str | bytes) -> None:
        super().write(path, content)
        self.made.append(str(path))

    def link(self, path: str | Path, target: str | Path) -> None:
        super().link(path, target)
        self.made.append(str(path))

    def remove(self, path: str | Path) -> None:
        super().remove(path)
        self.removed.append(str(path))


def test_the_kernels_order(node: SimNode) -> None:
    pf = SimDevice(bdf="0000:3b:00.0", driver="vfio-pci", iommu=1, totalvfs=1)
    node.add(pf)
    diary = node.tree = Diary(node.root)
    (vf,) = node.enable_vfs(pf.bdf, 1)
    home = node.home(vf)
    coming = (
        f"{home}/vendor",
        f"/sys/bus/pci/devices/{vf}",
        f"{home}/iommu_group",
        f"{home}/physfn",
        f"{node.home(pf.bdf)}/virtfn0",
        f"{home}/driver",
        "/dev/vfio/2",
    )
    assert [path for path in diary.made if path in coming] == list(coming)
    node.disable_vfs(pf.bdf)
    going = (
        f"{node.home(pf.bdf)}/virtfn0",
        f"{home}/driver",
        "/dev/vfio/2",
        f"/sys/bus/pci/devices/{vf}",
        home,
    )
    assert [path for path in diary.removed if path in going] == list(going)


def test_noiommu(node: SimNode) -> None:
    node.add(SimDevice(bdf="0000:20:00.0", driver="vfio-pci", iommu=3, noiommu=True))
    assert dev(node) == {"vfio/vfio", "vfio/noiommu-3"}
    assert read(node, "/sys/bus/pci/devices/0000:20:00.0/iommu_group/name") == "vfio-noiommu\n"


def test_a_group_is_shared(node: SimNode) -> None:
    one, two = (SimDevice(bdf=f"0000:2{n}:00.0", driver="vfio-pci", iommu=7) for n in range(2))
    node.add(one, two)
    node.remove(one.bdf)
    assert dev(node) == {"vfio/vfio", "vfio/7"}
    node.remove(two.bdf)
    assert dev(node) == set()


def test_network_functions(node: SimNode) -> None:
    node.add(
        SimDevice(
            bdf="0000:03:00.0",
            vendor="15b3",
            device="a2d6",
            code="020000",
            driver="mlx5_core",
            net=("p0",),
            rdma=Rdma("mlx5_0", 0),
            sfs=(Subfunction("mlx5_core.sf.2", 5, ("en3f0s5",), Rdma("mlx5_2", 2)),),
        )
    )
    sf = "/sys/bus/auxiliary/devices/mlx5_core.sf.2"
    assert read(node, f"{sf}/sfnum") == "5\n"
    assert node.tree.at(sf).resolve().parent.name == "0000:03:00.0"
    assert read(node, f"{sf}/net/en3f0s5/type") == "1\n"
    assert read(node, "/sys/class/infiniband_verbs/uverbs2/ibdev") == "mlx5_2\n"
    assert node.tree.at("/sys/class/net/p0/device").resolve().name == "0000:03:00.0"
    names = {f"infiniband/{kind}{n}" for kind in ("uverbs", "umad", "issm") for n in (0, 2)}
    assert dev(node) == {*names, "infiniband/rdma_cm"}
    node.unbind("0000:03:00.0")
    assert dev(node) == set()
    assert not node.tree.at(sf).exists()


def test_uio(node: SimNode) -> None:
    node.add(SimDevice(bdf="0000:3b:02.0", driver="igb_uio", uio="uio0"))
    assert [path.name for path in node.tree.at(f"{node.home('0000:3b:02.0')}/uio").iterdir()] == [
        "uio0"
    ]
    assert dev(node) == {"uio0"}


def test_single_changes(node: SimNode) -> None:
    node.add(NPU)
    node.set_numa_node(NPU.bdf, -1)
    node.set_status("rbln0", 3)
    node.set_pools(NPU.bdf, None)
    node.remove_dev_node("rbln0")
    home = "/sys/bus/pci/devices/0000:20:00.0"
    assert read(node, f"{home}/numa_node") == "-1\n"
    assert read(node, "/sys/class/rebellions/rbln0/status") == "3\n"
    assert not node.tree.at(f"{home}/pools").exists()
    assert dev(node) == {"rsd0"}
    node.remove(NPU.bdf)
    assert not node.tree.at(home).exists()


def test_a_hanging_status_is_a_pipe(node: SimNode) -> None:
    node.add(NPU)
    node.hang_status("rbln0")
    assert node.tree.at("/sys/class/rebellions/rbln0/status").is_fifo()


def test_npus_are_spread_over_numa_nodes() -> None:
    assert Counter(npu.numa for npu in npus(8, numa_nodes=2)) == {0: 4, 1: 4}
    assert len({npu.bdf for npu in npus(100)}) == 100


@pytest.mark.parametrize("name", conformance.names())
def test_recorded_nodes_are_built(node: SimNode, name: str) -> None:
    case = conformance.load(name)
    case.node.build(node)
    dangling = [path for path in paths(node) if path.is_symlink() and not path.exists()]
    assert dangling == []
    assert set(case.node.dev) <= dev(node)

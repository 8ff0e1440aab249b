"""Whatever is on disk, a look at the node ends well; and no order has a say in what it finds."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim.device import Rdma, SimDevice, Subfunction, Vdpa
from tests.sim.node import SimNode

NEEDS: Final = Needs(
    frozenset({0x02, 0x12}), acpi_indexes=True, subfunctions=True, rdma=True, ddp_profiles=False
)
PF: Final = SimDevice(
    *("0000:03:00.0", "15b3", "a2d6", "020000", "mlx5_core"),
    parents=("0000:00:01.0", "0000:01:00.0"),
    net=("p0",),
    rdma=Rdma("mlx5_0", 0),
    acpi_index=3,
    totalvfs=4,
    sfs=(Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",), Rdma("mlx5_4", 4)),),
)
VF: Final = SimDevice(
    *("0000:03:00.2", "15b3", "101e", "020000", "mlx5_core"),
    pf=PF.bdf,
    net=("p0v0",),
    rdma=Rdma("mlx5_9", 9),
    vdpa=Vdpa("vdpa0"),
)
VFIO: Final = msgspec.structs.replace(
    VF, bdf="0000:03:00.3", driver="vfio-pci", net=(), iommu=4, vdpa=None
)
NPU: Final = SimDevice("0000:20:00.0", rbln="rbln0", parents=("0000:1f:00.0",))
DEVICES: Final = (PF, VF, VFIO, NPU)


@contextlib.contextmanager
def built(*devices: SimDevice) -> Iterator[SimNode]:
    folder = Path(tempfile.mkdtemp(prefix="rb-"))
    try:
        sim = SimNode(folder)
        sim.add(*devices)
        # Links as the kernel has them, but for one: rtnetlink does not know it, and sysfs does.
        for name, port in (("p0", "p0\n"), ("p0v0", "pf0vf0\n")):
            home = sim.home(PF.bdf if name == "p0" else VF.bdf)
            sim.tree.write(f"{home}/net/{name}/phys_switch_id", "cafe\n")
            sim.tree.write(f"{home}/net/{name}/phys_port_name", port)
            sim.tree.write(f"{home}/net/{name}/type", "32\n")
        yield sim
    finally:
        shutil.rmtree(folder)


@given(st.permutations([(NPU,), (PF, VF, VFIO)]), st.booleans())
def test_the_order_in_which_devices_came_has_no_say(
    groups: list[tuple[SimDevice, ...]],
    late: bool,  # noqa: FBT001
) -> None:
    with built(*(device for group in groups for device in group)) as sim:
        if late:  # the PF is plugged in anew, and so comes last in its directory
            sim.unbind(PF.bdf)
            sim.bind(PF.bdf, "mlx5_core")
            for name in ("phys_switch_id", "phys_port_name"):
                sim.set_interface(PF.bdf, "p0", name, "p0\n")
            sim.set_interface(PF.bdf, "p0", "type", "32\n")
        assert scan_node(sim.root, NEEDS) == EXPECTED


@composite
def damage(draw: DrawFn, paths: list[str]) -> tuple[str, str, bytes]:
    what = draw(st.sampled_from(["bytes", "gone", "directory", "link"]))
    return draw(st.sampled_from(paths)), what, draw(st.binary(max_size=80))


@contextlib.contextmanager
def damaged(root: Path, path: str, what: str, value: bytes) -> Iterator[None]:
    """Put something else in an entry's place, for as long as the block runs."""
    place = root / path
    if not os.path.lexists(place):
        yield  # something above it has been damaged
        return
    aside = root / f"aside-{len(os.listdir(root))}"  # noqa: PTH208
    place.rename(aside)
    try:
        match what:
            case "bytes":
                place.write_bytes(value)
            case "directory":
                place.mkdir()
            case "gone":
                pass
            case _:
                target = value.replace(b"\0", b"") or b"nowhere"
                place.symlink_to(os.fsdecode(target))
        yield
    finally:
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)
        aside.rename(place)


def entries(root: Path) -> list[str]:
    found = []
    for folder, folders, files in os.walk(root / "sys"):
        found += [os.path.relpath(f"{folder}/{name}", root) for name in (*folders, *files)]
    return sorted(found)


with built(*DEVICES) as _sim:
    EXPECTED: Final = scan_node(_sim.root, NEEDS)
    ENTRIES: Final = entries(_sim.root)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with built(*DEVICES) as sim:
        yield sim.root


def test_the_undamaged_node_is_whole() -> None:
    assert EXPECTED.problems == ()
    assert EXPECTED.node.functions.keys() == {device.bdf for device in DEVICES}
    assert [len(found) for found in EXPECTED.node.subfunctions.values()] == [1]


@given(damages=st.lists(damage(ENTRIES), min_size=1, max_size=4))
def test_no_damage_ends_a_look(root: Path, damages: list[tuple[str, str, bytes]]) -> None:
    with contextlib.ExitStack() as stack:
        for path, what, value in damages:
            stack.enter_context(damaged(root, path, what, value))
        look = scan_node(root, NEEDS)
        frame = msgspec.msgpack.encode(look)
        assert msgspec.msgpack.decode(frame, type=DiscoveryResult) == look
        assert all(
            text.isprintable() for text in (*(one.text for one in look.problems), look.failed or "")
        )
    assert not list(root.glob("aside-*"))

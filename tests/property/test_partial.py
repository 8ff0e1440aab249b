"""A look at the functions that events name finds what a look at all would have found."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rbln_supervisor.core.discovery.partial import MIN_FULL_SCAN, affected_functions, merge_partial
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.unit.inventory import node, npu, pf, vf

PFS: Final = (
    SimDevice("0000:20:00.0", rbln="rbln0", totalvfs=8, iommu=50),
    SimDevice("0000:21:00.0", rbln="rbln1", totalvfs=8, iommu=60),
    SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice", net=("p0",), totalvfs=8),
)
DRIVERS: Final = ("rebellions", "vfio-pci", "iavf")
NEEDS: Final = Needs(base_classes=frozenset({0x02, 0x12}), default_routes=False)
CHANGE: Final = st.tuples(
    st.sampled_from(["plug", "unplug", "bind", "unbind", "vfs", "rename"]),
    st.integers(0, 2),
    st.integers(0, 8),
)


@contextmanager
def sim() -> Iterator[SimNode]:
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        made = SimNode(Path(folder))
        made.add(*PFS)
        yield made


def change(sim: SimNode, what: str, which: int, number: int) -> set[Bdf]:
    """Change something as the kernel would; the functions that its events name."""
    device = PFS[which]
    before = set(sim.devices)
    vfs = {bdf for bdf, one in sim.devices.items() if one.pf == device.bdf}
    target = sorted(vfs)[number % len(vfs)] if vfs and number else device.bdf
    there = device.bdf in sim.devices
    match what:
        case "plug" if not there:
            sim.add(device)
            return {Bdf(device.bdf)}
        case "unplug" if there:
            sim.remove(device.bdf)
            return {Bdf(bdf) for bdf in before - set(sim.devices)}
        case "bind" if target in sim.devices:
            sim.bind(target, DRIVERS[number % len(DRIVERS)])
            return {Bdf(target)}
        case "unbind" if target in sim.devices:
            sim.unbind(target)
            return {Bdf(target)}
        case "vfs" if there:
            sim.disable_vfs(device.bdf)
            new = sim.enable_vfs(device.bdf, number, driver="vfio-pci") if number else ()
            return {Bdf(bdf) for bdf in (*vfs, *new)}
        case "rename" if there and device.net and sim.devices[device.bdf].driver == "ice":
            (folder,) = sim.tree.at(f"{sim.home(device.bdf)}/net").iterdir()
            folder.rename(folder.with_name(f"q{number}"))
            return {Bdf(device.bdf)}
        case _:
            return set()


@settings(max_examples=60)
@given(st.lists(st.lists(CHANGE, min_size=1, max_size=3), min_size=1, max_size=6))
def test_it_is_as_good_as_a_whole_one(changes: list[list[tuple[str, int, int]]]) -> None:
    with sim() as node:
        known = scan_node(node.root, NEEDS).node
        for several in changes:
            named: set[Bdf] = set()
            for one in several:
                try:
                    named |= change(node, *one)
                except OSError:  # the interface went with its driver
                    continue
            only = affected_functions(named, known)
            look = scan_node(node.root, msgspec.structs.replace(NEEDS, only=only))
            assert look.failed is None
            known = (
                look.node
                if look.discovered is None
                else merge_partial(known, look.node, look.discovered)
            )
            assert known == scan_node(node.root, NEEDS).node


def test_an_event_that_names_nothing_is_about_all() -> None:
    assert affected_functions([None, npu().bdf], node(npu())) is None


def test_a_node_with_something_unreadable_is_looked_at_whole() -> None:
    known = NodeInventory(
        {npu().bdf: npu()}, {}, {"mlx5_core.sf.4": "sfnum: No such file or directory"}
    )
    assert affected_functions([npu().bdf], known) is None


def test_neighbours() -> None:
    known = node(npu(), pf(), vf(0), vf(1))
    assert affected_functions([npu().bdf], known) == frozenset({npu().bdf})
    assert affected_functions([vf(0).bdf], known) == frozenset({vf(0).bdf, pf().bdf})
    assert affected_functions([pf().bdf], known) == frozenset({pf().bdf, vf(0).bdf, vf(1).bdf})
    assert affected_functions([Bdf("0000:99:00.0")], known) == frozenset({Bdf("0000:99:00.0")})


def test_too_many_are_all() -> None:
    known = node(*(npu(f"0000:{n:02x}:00.0") for n in range(MIN_FULL_SCAN + 1)))
    assert affected_functions(known.functions, known) is None

"""Providers on files as Linux has them, with devices as the supervisor would describe them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rbln_worker.contract.device import (
    AuxName,
    Bdf,
    Device,
    DeviceId,
    Grants,
    Network,
    PciFunction,
    Subfunction,
    Vdpa,
)
from rbln_worker.contract.pool import DeviceType, PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, build_allocation
from rbln_worker.core.allocation.host_facts import (
    DirEntries,
    Exists,
    HostFile,
    Text,
    TextPerEntry,
    Unread,
)
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.host.facts import Reader
from tests.sim import conformance
from tests.sim.device import SimDevice
from tests.sim.node import RBLN_STAT, SimNode

GRANTS = {"nic-rdma-vfs": Grants(rdma=True), "nic-vhost": Grants(vhost_net=True)}


def devices(node: SimNode, case: str) -> dict[str, Device]:
    """The PCI functions of a node; a worker is told of them by its supervisor."""
    return {
        bdf: Device(
            DeviceId(bdf),
            PciFunction(
                bdf=Bdf(bdf),
                vendor=found.vendor,
                product=found.device,
                base_class=2,
                driver=found.driver,
                numa_node=found.numa,
                network=Network(rdma_capable=found.rdma is not None),
            ),
            grants=GRANTS.get(case, Grants()),
        )
        for bdf, found in node.devices.items()
    }


def subfunctions(node: SimNode) -> dict[str, Device]:
    parents = devices(node, "")
    return {
        sf.name: Device(
            DeviceId(sf.name),
            parents[bdf].function,
            Subfunction(
                AuxName(sf.name),
                "sf",
                sf.sfnum,
                Bdf(bdf),
                ("p0",),
                Network(rdma_capable=sf.rdma is not None),
            ),
            Grants(rdma=True),
        )
        for bdf, found in node.devices.items()
        for sf in found.sfs
    }


def told(root: Path, device: Device, spec: PoolSpec) -> tuple[DeviceAllocation, tuple[str, ...]]:
    reader = Reader(root, host_visible=True)
    found = build_allocation(
        ProviderInput(device, spec, reader.read_facts(allocation_reads(device, spec)))
    )
    return found, reader.missing_nodes(node.host for node in found.nodes)


@pytest.mark.parametrize(
    ("case", "device_type"),
    [
        ("nic-uio", "netDevice"),
        ("nic-vhost", "netDevice"),
        ("nic-rdma-vfs", "netDevice"),
        ("nic-noiommu", "netDevice"),
        ("nic-dpdk-vfs", "netDevice"),
        ("nic-kernel-vfs", "netDevice"),
        ("sf-rdma", "auxNetDevice"),
    ],
)
def test_as_the_reference_answers(tmp_path: Path, case: str, device_type: DeviceType) -> None:
    recorded = conformance.load(case)
    node = SimNode(tmp_path)
    recorded.node.build(node)
    known = subfunctions(node) if device_type == "auxNetDevice" else devices(node, case)
    spec = PoolSpec("p", "n", device_type)
    compared = 0
    for pool in recorded.expected.pools.values():
        for grant in pool.allocate:
            if len(grant.ids) != 1:
                continue
            (name,) = grant.ids
            found, missing = told(tmp_path, known[name], spec)
            assert (found.faults, found.busy, missing) == ((), "", ())
            assert sorted([n.host, n.container, "rw"] for n in found.nodes) == [
                list(node) for node in grant.devices
            ]
            (expected,) = (v for v in grant.envs.values() if isinstance(v, dict))
            actual = json.loads(f"{{{found.info}}}")[name]
            for section, keys in expected[name].items():
                assert keys.items() <= actual[section].items()
            compared += 1
    assert compared


@pytest.fixture
def uio(tmp_path: Path) -> tuple[SimNode, Device]:
    node = SimNode(tmp_path)
    conformance.load("nic-uio").node.build(node)
    return node, devices(node, "nic-uio")["0000:3b:02.0"]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda node, home: node.tree.remove(f"{home}/uio"),
        lambda node, home: node.tree.remove(f"{home}/uio/uio0"),
        lambda node, home: (node.tree.remove(f"{home}/uio"), node.tree.write(f"{home}/uio", "")),
        lambda node, _: node.remove_dev_node("uio0"),
    ],
    ids=["no folder", "an empty folder", "a file", "no node"],
)
def test_a_broken_uio_function_has_a_reason(
    tmp_path: Path, uio: tuple[SimNode, Device], break_it: Callable[[SimNode, str], object]
) -> None:
    node, device = uio
    break_it(node, node.home(device.id))
    found, missing = told(tmp_path, device, PoolSpec("p", "n", "netDevice"))
    assert found.faults or missing == ("/dev/uio0",)


def test_a_vdpa_device_is_found_by_its_folder(tmp_path: Path) -> None:
    node = SimNode(tmp_path)
    node.tree.directory("/sys/bus/vdpa/devices/vdpa2/vhost-vdpa-1")
    node.add_dev_node("vhost-vdpa-1")
    network = Network(vdpa=Vdpa("vdpa2", "vhost"))
    device = Device(
        DeviceId("0000:01:00.2"),
        PciFunction(Bdf("0000:01:00.2"), "15b3", "101e", 2, "mlx5_core", 0, network=network),
        grants=Grants(vdpa="vhost"),
    )
    found, missing = told(tmp_path, device, PoolSpec("p", "n", "netDevice"))
    assert [n.host for n in found.nodes] == ["/dev/vhost-vdpa-1"]
    assert not missing


def test_a_look_reads_what_is_shared_once(tmp_path: Path) -> None:
    node = SimNode(tmp_path)
    conformance.load("nic-rdma-vfs").node.build(node)
    reader = Reader(tmp_path, host_visible=True)
    shared = TextPerEntry("/sys/class/infiniband_verbs", "ibdev")
    before = reader.read_facts([shared]).text_per_entry(shared)
    assert before["uverbs20"] == "mlx5_20\n"
    node.tree.remove("/sys/class/infiniband_verbs")
    assert reader.read_facts([shared]).text_per_entry(shared) == before
    assert not Reader(tmp_path, host_visible=True).read_facts([shared]).text_per_entry(shared)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    reader = Reader(tmp_path, host_visible=False)
    wants = Text("/folder"), DirEntries("/nowhere"), Exists("/nowhere"), HostFile("/nowhere")
    facts = reader.read_facts(wants)
    assert facts.text(wants[0]) == Unread("/folder: Is a directory")
    assert facts.dir_entries(wants[1]) == Unread("/nowhere: No such file or directory", absent=True)
    assert not facts.path_exists(wants[2])
    assert not facts.path_exists(wants[3])


@pytest.mark.parametrize("root", ["/", ""])
def test_a_host_file_is_a_regular_one_behind_any_links(tmp_path: Path, root: str) -> None:
    """From the machine's own root the kernel follows links; elsewhere they stay below it."""
    home = str(tmp_path) if root else ""
    reader = Reader(Path(root) if root else tmp_path, host_visible=True)
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/tool").write_text("x")
    (tmp_path / "absolute").symlink_to(f"{home}/opt/tool")
    (tmp_path / "relative").symlink_to("opt/../opt/tool")
    (tmp_path / "again").symlink_to("again")
    (tmp_path / "dead").symlink_to("/nowhere/tool")
    there = [
        name
        for name in ("opt/tool", "absolute", "relative", "again", "dead", "opt", "none")
        if reader.read_facts((HostFile(f"{home}/{name}"),)).path_exists(HostFile(f"{home}/{name}"))
    ]
    assert there == ["opt/tool", "absolute", "relative"]


def test_missing_nodes(tmp_path: Path) -> None:
    SimNode(tmp_path).add_dev_node("rbln0")
    reader = Reader(tmp_path, host_visible=True)
    assert reader.missing_nodes(("/dev/rbln0", "/dev/rbln1", "/dev/vfio/7")) == (
        "/dev/rbln1",
        "/dev/vfio/7",
    )


def test_an_npu_and_its_tool(tmp_path: Path) -> None:
    bdf = "0000:20:00.0"
    node = SimNode(tmp_path)
    node.add(SimDevice(bdf, rbln="rbln3"))
    function = PciFunction(Bdf(bdf), "1eff", "1120", 0x12, "rebellions", 0)
    device, spec = Device(DeviceId(bdf), function), PoolSpec("p", "n", "accelerator")
    found, missing = told(tmp_path, device, spec)
    assert [n.host for n in found.nodes] == ["/dev/rbln3", "/dev/rsd0"]
    assert (len(found.mounts), missing) == (1, ())
    node.remove_dev_node("rsd0")
    node.tree.remove(RBLN_STAT)
    found, missing = told(tmp_path, device, spec)
    assert (found.mounts, missing) == ((), ("/dev/rsd0",))
    out_of_sight = Reader(tmp_path, host_visible=False).read_facts(allocation_reads(device, spec))
    assert not build_allocation(ProviderInput(device, spec, out_of_sight)).mounts
    node.tree.write("/host/usr/bin/rbln-smi", "x")
    (tmp_path / "usr/local/bin/rbln-stat").mkdir(parents=True)
    mounted = Reader(tmp_path, host_visible=False).read_facts(allocation_reads(device, spec))
    assert [one.host for one in build_allocation(ProviderInput(device, spec, mounted)).mounts] == [
        "/usr/bin/rbln-smi"
    ]
    assert not told(tmp_path, device, spec)[0].mounts, "a folder is no tool"

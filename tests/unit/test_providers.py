"""What a container gets for a device, from facts alone."""

import json
from collections.abc import Mapping

import msgspec
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
    Fact,
    HostFacts,
    HostFile,
    LinkPerEntry,
    LinkTarget,
    Need,
    Text,
    TextPerEntry,
    Unread,
)
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads, providers_for
from rbln_worker.core.health.evidence import unusable_reason

BDF = "0000:3b:02.0"
HOME = f"/sys/bus/pci/devices/{BDF}"
SF = "mlx5_core.sf.4"
SF_HOME = f"/sys/bus/auxiliary/devices/{SF}"
GONE = Unread("gone")
VHOST_VDPA = Network(vdpa=Vdpa("vdpa2", "vhost"))
NO_RDMA = Network()
RDMA = Network(rdma=("mlx5_9",), rdma_capable=True)


FUNCTION = PciFunction(
    bdf=Bdf(BDF),
    vendor="8086",
    product="1889",
    base_class=2,
    driver="iavf",
    numa_node=0,
    network=Network(),
)
NOTHING = Grants()
CAN = Grants(rdma=True)


def nic(driver: str = "iavf", *, grants: Grants = NOTHING, **rest: object) -> Device:
    function = msgspec.structs.replace(FUNCTION, driver=driver, **rest)
    return Device(DeviceId(BDF), function, grants=grants)


def npu(driver: str = "rebellions", product: str = "1120", vendor: str = "1eff") -> Device:
    return nic(driver, vendor=vendor, product=product, base_class=0x12, network=None)


def sf(network: Network = NO_RDMA, grants: Grants = NOTHING) -> Device:
    function = msgspec.structs.replace(FUNCTION, driver="mlx5_core")
    own = Subfunction(AuxName(SF), "sf", 4, Bdf(BDF), ("p0",), network)
    return Device(DeviceId(SF), function, own, grants)


def pool(
    device_type: DeviceType = "netDevice",
    additional_info: Mapping[str, Mapping[str, str]] | None = None,
    *,
    iommufd: bool = False,
) -> PoolSpec:
    return PoolSpec("intel.com", "x", device_type, additional_info=additional_info, iommufd=iommufd)


def told(device: Device, spec: PoolSpec, facts: dict[Need, Fact] | None = None) -> DeviceAllocation:
    return build_allocation(ProviderInput(device, spec, HostFacts(facts)))


def info(found: DeviceAllocation) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = json.loads(f"{{{found.info}}}")[found.id]
    return sections


def hosts(found: DeviceAllocation) -> list[str]:
    return [node.host for node in found.nodes]


ACCELERATOR = pool("accelerator")


@pytest.mark.parametrize(
    ("device", "spec", "names"),
    [
        (npu(), ACCELERATOR, ["rebellions"]),
        (npu("vfio-pci"), ACCELERATOR, ["vfio"]),
        (npu("other"), ACCELERATOR, ["generic"]),
        (npu("rebellions", vendor="8086"), ACCELERATOR, ["generic"]),
        (npu("vfio-pci", vendor="8086"), ACCELERATOR, ["generic", "vfio"]),
        (npu("uio", vendor="8086"), ACCELERATOR, ["generic", "uio"]),
        (nic(), pool(), ["generic"]),
        (nic("vfio-pci"), pool(), ["generic", "vfio"]),
        (nic("vfio-pci", vendor="1eff"), pool(), ["generic", "vfio"]),
        (nic("mlx5_vfio_pci"), pool(), ["generic", "vfio"]),
        (nic("nvgrace-gpu-vfio-pci"), pool(), ["generic", "vfio"]),
        (nic("vfio"), pool(), ["generic"]),
        (nic("igb_uio"), pool(), ["generic", "uio"]),
        (nic("uio_pci_generic"), pool(), ["generic", "uio"]),
        (nic(network=RDMA), pool(), ["generic"]),
        (nic(network=RDMA, grants=Grants(rdma=True)), pool(), ["generic", "rdma"]),
        (nic(grants=Grants(rdma=True)), pool(), ["generic"]),
        (nic(network=VHOST_VDPA), pool(), ["generic"]),
        (nic(network=VHOST_VDPA, grants=Grants(vdpa="vhost")), pool(), ["generic", "vdpa"]),
        (nic(grants=Grants(vhost_net=True)), pool(), ["generic", "vhost_net"]),
        (sf(RDMA), pool("auxNetDevice"), ["generic"]),
        (sf(RDMA, CAN), pool("auxNetDevice"), ["generic", "rdma"]),
        (
            sf(RDMA, Grants(rdma=True, vhost_net=True)),
            pool("auxNetDevice", additional_info={}),
            ["generic", "extra", "rdma", "vhost_net"],
        ),
        (
            nic(
                "vfio-pci",
                network=Network(rdma_capable=True, vdpa=Vdpa("vdpa0", "vhost")),
                grants=Grants(rdma=True, vdpa="vhost", vhost_net=True),
            ),
            pool(additional_info={}),
            ["generic", "vfio", "extra", "vdpa", "vhost_net"],
        ),
    ],
)
def test_a_device_has_these_providers_in_this_order(
    device: Device, spec: PoolSpec, names: list[str]
) -> None:
    found = [
        provider.container_edits.__module__.rpartition(".")[2]
        for provider in providers_for(device, spec)
    ]
    assert found == names


@pytest.mark.parametrize("spec", [pool(), pool("auxNetDevice"), ACCELERATOR])
@pytest.mark.parametrize(
    "device",
    [
        npu(),
        npu("vfio-pci"),
        nic("igb_uio"),
        nic(network=RDMA, grants=Grants(rdma=True)),
        nic(network=VHOST_VDPA, grants=Grants(vdpa="vhost")),
    ],
)
def test_where_nothing_could_be_read_nothing_is_given_out(device: Device, spec: PoolSpec) -> None:
    gone: dict[Need, Fact] = dict.fromkeys(allocation_reads(device, spec), GONE)
    wrong: dict[Need, Fact] = dict.fromkeys(allocation_reads(device, spec), "of another kind")
    for facts in ({}, gone, wrong):
        found = told(device, spec, facts)
        assert found.faults or found.busy


def test_a_generic_device_has_its_id() -> None:
    assert info(told(nic(), pool())) == {"generic": {"deviceID": BDF}}
    assert info(told(sf(), pool("auxNetDevice"))) == {"generic": {"deviceID": SF}}
    assert not allocation_reads(nic(), pool())


GROUP = LinkTarget(f"{HOME}/iommu_group")
GROUP_NAME = Text(f"{HOME}/iommu_group/name")


def test_vfio_gives_the_container_and_the_group() -> None:
    found = told(nic("vfio-pci"), pool(), {GROUP: "40", GROUP_NAME: GONE})
    assert hosts(found) == ["/dev/vfio/vfio", "/dev/vfio/40"]
    assert info(found)["vfio"] == {
        "mount": "/dev/vfio/vfio",
        "dev-mount": "/dev/vfio/40",
        "vfio-mount": "/dev/vfio/vfio",
        "vfio-dev-mount": "/dev/vfio/40",
    }


MEMBERS = LinkPerEntry(f"{HOME}/iommu_group/devices", "driver")


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({}, ""),
        ({BDF: "vfio-pci"}, ""),
        ({BDF: "vfio-pci", "0000:3a:00.0": "pcieport", "0000:3b:00.1": "pci-stub"}, ""),
        ({BDF: "vfio-pci", "0000:3b:00.1": "mlx5_vfio_pci", "0000:3b:00.2": "vfio-platform"}, ""),
        ({BDF: "vfio-pci", "0000:3b:00.1": "nvme"}, "0000:3b:00.1 is bound to nvme"),
        ({BDF: "vfio-pci", "0000:3b:00.1": "uio_pci_generic"}, "is bound to uio_pci_generic"),
        ({BDF: "vfio-pci", "0000:3b:00.1": "not-vfio"}, "is bound to not-vfio"),
        ({f"0000:3b:00.{n}": "snd" for n in range(8)}, "0000:3b:00.3 is bound to snd, and 4 more"),
    ],
)
def test_a_group_is_viable_without_host_drivers(members: dict[str, str], fault: str) -> None:
    found = told(nic("vfio-pci"), pool(), {GROUP: "40", GROUP_NAME: GONE, MEMBERS: members})
    if fault:
        (said,) = found.faults
        assert said.startswith("its IOMMU group 40 is not viable: 0000:3b:00.")
        assert said.endswith(fault)
    else:
        assert not found.faults
    without = told(
        nic("vfio-pci"), pool(), {GROUP: "8", GROUP_NAME: "vfio-noiommu\n", MEMBERS: members}
    )
    assert not without.faults, "nothing keeps a group without an IOMMU from user space"


VFIO_DEV = DirEntries(f"{HOME}/vfio-dev")
IOMMU = Exists("/dev/iommu")


@pytest.mark.parametrize(
    ("names", "iommu", "nodes"),
    [
        (("vfio7",), True, ["/dev/vfio/devices/vfio7", "/dev/iommu"]),
        (("power", "vfio0"), True, ["/dev/vfio/devices/vfio0", "/dev/iommu"]),
        (("vfio7",), False, []),
        ((), True, []),
        (("../../sda", "vfio", "vfio7777777"), True, []),
        (GONE, True, []),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_iommufd_is_given_where_it_is_asked_for(
    names: Fact, iommu: Fact, nodes: list[str], *, wanted: bool
) -> None:
    facts: dict[Need, Fact] = {GROUP: "40", GROUP_NAME: GONE, VFIO_DEV: names, IOMMU: iommu}
    found = told(nic("vfio-pci"), pool(iommufd=wanted), facts)
    assert hosts(found) == ["/dev/vfio/vfio", "/dev/vfio/40", *(nodes if wanted else [])]
    assert ("iommufd" in info(found)) == bool(wanted and nodes)
    assert info(found)["vfio"]["dev-mount"] == "/dev/vfio/40"


def test_a_group_without_an_iommu_has_another_name_outside() -> None:
    found = told(nic("vfio-pci"), pool(), {GROUP: "8", GROUP_NAME: "vfio-noiommu\n"})
    assert [(n.host, n.container) for n in found.nodes] == [
        ("/dev/vfio/vfio", "/dev/vfio/vfio"),
        ("/dev/vfio/noiommu-8", "/dev/vfio/8"),
    ]
    assert info(found)["vfio"]["dev-mount"] == "/dev/vfio/8"


@pytest.mark.parametrize("group", ["", "x", "../7", "\u0663", "7/8"])
def test_a_group_that_is_no_number_is_a_fault(group: str) -> None:
    found = told(nic("vfio-pci"), pool(), {GROUP: group})
    assert found.faults == (f"no IOMMU group (iommu_group: expected a number, got {group!r})",)


UIO = DirEntries(f"{HOME}/uio")


@pytest.mark.parametrize("driver", ["uio", "igb_uio", "uio_pci_generic"])
def test_uio_gives_the_functions_node(driver: str) -> None:
    found = told(nic(driver), pool(), {UIO: ("uio3",)})
    assert hosts(found) == ["/dev/uio3"]
    assert info(found)["uio"] == {"mount": "/dev/uio3"}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (Unread(f"{HOME}/uio: it hid"), "no uio node (uio: it hid)"),
        ((), "no uio node (uio: expected an entry such as uio0, got nothing)"),
        (("../sda",), "no uio node (uio: expected an entry such as uio0, got '../sda')"),
    ],
)
def test_a_uio_function_without_a_node_is_a_fault(names: Fact, why: str) -> None:
    found = told(nic("uio"), pool(), {UIO: names})
    assert found.faults == (why,)
    assert not found.nodes


def rdma_facts(home: str, devices: Fact, *, manager: bool = True) -> dict[Need, Fact]:
    return {
        DirEntries(f"{home}/infiniband"): devices,
        TextPerEntry("/sys/class/infiniband_verbs", "ibdev"): {
            "uverbs10": "mlx5_10\n",
            "uverbs9": "mlx5_9\n",
            "uverbs0": "mlx5_0\n",
        },
        TextPerEntry("/sys/class/infiniband_mad", "ibdev"): {
            "issm10": "mlx5_10\n",
            "issm9": "mlx5_9\n",
            "umad10": "mlx5_10\n",
            "umad9": "mlx5_9\n",
            "umad90": "mlx5_90\n",
        },
        TextPerEntry("/sys/class/infiniband_cm", "ibdev"): {"ucm9": "mlx5_9\n"},
        Exists("/dev/infiniband/rdma_cm"): manager,
    }


@pytest.mark.parametrize(
    ("device", "spec", "home"),
    [
        (nic(network=RDMA, grants=CAN), pool(), HOME),
        (sf(RDMA, CAN), pool("auxNetDevice"), SF_HOME),
    ],
)
def test_an_rdma_device_has_its_nodes_in_order(device: Device, spec: PoolSpec, home: str) -> None:
    found = told(device, spec, rdma_facts(home, ("mlx5_9",)))
    assert hosts(found) == [
        f"/dev/infiniband/{name}" for name in ("ucm9", "issm9", "umad9", "uverbs9", "rdma_cm")
    ]
    assert info(found)["rdma"] == {
        "rdma_dev": "mlx5_9",
        "issm": "/dev/infiniband/issm9",
        "umad": "/dev/infiniband/umad9",
        "uverbs": "/dev/infiniband/uverbs9",
        "rdma_cm": "/dev/infiniband/rdma_cm",
    }
    assert not found.faults
    assert not found.busy


def test_of_several_rdma_devices_the_first_is_first_and_the_last_has_the_references_keys() -> None:
    found = told(nic(network=RDMA, grants=CAN), pool(), rdma_facts(HOME, ("mlx5_10", "mlx5_9")))
    names = ("issm10", "umad10", "uverbs10", "rdma_cm", "ucm9", "issm9", "umad9", "uverbs9")
    assert hosts(found) == [f"/dev/infiniband/{name}" for name in names]
    keys = info(found)["rdma"]
    assert keys["rdma_dev"] == "mlx5_10"
    assert keys["uverbs"] == "/dev/infiniband/uverbs9"
    assert keys["mlx5_10/uverbs"] == "/dev/infiniband/uverbs10"
    assert keys["mlx5_9/uverbs"] == "/dev/infiniband/uverbs9"


def test_without_the_connection_manager_the_rest_is_given() -> None:
    found = told(
        nic(network=RDMA, grants=CAN), pool(), rdma_facts(HOME, ("mlx5_9",), manager=False)
    )
    assert "/dev/infiniband/rdma_cm" not in hosts(found)
    assert not found.faults


@pytest.mark.parametrize("names", [(), GONE])
def test_an_rdma_device_in_a_pods_namespace_is_healthy_and_not_given_out(names: Fact) -> None:
    found = told(nic(network=RDMA, grants=CAN), pool(), rdma_facts(HOME, names))
    assert unusable_reason(found, ()) == ""
    assert "it has no RDMA device here" in found.busy
    assert info(found)["rdma"] == {}


def test_an_rdma_device_without_verbs_is_of_no_use() -> None:
    found = told(nic(network=RDMA, grants=CAN), pool(), rdma_facts(HOME, ("mlx5_90",)))
    assert found.faults == ("no uverbs node belongs to it",)


VDPA = DirEntries("/sys/bus/vdpa/devices/vdpa2")


def test_vdpa_for_user_space_has_a_node() -> None:
    device = nic(network=VHOST_VDPA, grants=Grants(vdpa="vhost"))
    found = told(device, pool(), {VDPA: ("driver", "uevent", "vhost-vdpa-0")})
    assert hosts(found) == ["/dev/vhost-vdpa-0"]
    assert info(found)["vdpa"] == {"mount": "/dev/vhost-vdpa-0"}


@pytest.mark.parametrize("names", [(), ("driver", "vhost-vdpa-"), ("vhost-vdpa-0/../sda",), GONE])
def test_vdpa_for_user_space_without_a_node_is_a_fault(names: Fact) -> None:
    device = nic(network=VHOST_VDPA, grants=Grants(vdpa="vhost"))
    found = told(device, pool(), {VDPA: names})
    assert found.faults
    assert not found.nodes


def test_vdpa_for_the_kernel_has_none() -> None:
    device = nic(network=Network(vdpa=Vdpa("vdpa2", "virtio")), grants=Grants(vdpa="virtio"))
    found = told(device, pool())
    assert info(found) == {"generic": {"deviceID": BDF}, "vdpa": {}}
    assert (found.nodes, found.faults) == ((), ())


def test_vhost_net_has_both_nodes_or_the_device_is_unhealthy() -> None:
    found = told(nic(grants=Grants(vhost_net=True)), pool())
    assert hosts(found) == ["/dev/vhost-net", "/dev/net/tun"]
    assert info(found)["vhost"] == {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}
    assert unusable_reason(found, ("/dev/net/tun",)) == "/dev/net/tun does not exist"


def test_additional_info_of_an_auxiliary_device_is_keyed_by_everything_it_is_called() -> None:
    configured = {
        "*": {"a": "all", "b": "all", "c": "all"},
        BDF: {"b": "parent", "c": "parent"},
        SF: {"c": "own"},
        "mlx5_core.sf.5": {"a": "another's"},
    }
    found = told(sf(), pool("auxNetDevice", additional_info=configured))
    assert info(found)["extra"] == {"a": "all", "b": "parent", "c": "own"}
    assert info(found)["extraInfo"] == info(found)["extra"]


POOLS = Text(f"/sys/bus/pci/drivers/rebellions/{BDF}/pools")
RSD = Exists("/dev/rsd0")
TOOL = HostFile("/usr/local/bin/rbln-stat")


@pytest.mark.parametrize(
    ("product", "rsd", "nodes"),
    [
        ("1120", True, ["/dev/rbln3", "/dev/rsd0"]),
        ("1120", False, ["/dev/rbln3", "/dev/rsd0"]),
        ("2030", True, ["/dev/rbln3", "/dev/rsd0"]),
        ("2030", False, ["/dev/rbln3"]),
    ],
)
def test_an_npu_has_its_node_and_the_groups(product: str, rsd: Fact, nodes: list[str]) -> None:
    pools = "poolinfo - 0.1\nrbln3               0    4 1024  1\n"
    found = told(npu(product=product), ACCELERATOR, {POOLS: pools, RSD: rsd, TOOL: True})
    assert hosts(found) == nodes
    assert [(mount.host, mount.container) for mount in found.mounts] == [
        ("/usr/local/bin/rbln-stat", "/usr/bin/rbln-stat")
    ]


@pytest.mark.parametrize(
    ("files", "mounts"),
    [
        ([], []),
        (["/usr/bin/rbln-smi"], ["/usr/bin/rbln-smi:/usr/bin/rbln-smi"]),
        (["/usr/local/bin/rbln-smi"], ["/usr/local/bin/rbln-smi:/usr/bin/rbln-smi"]),
        (["/usr/bin/rbln-stat"], ["/usr/bin/rbln-stat:/usr/bin/rbln-stat"]),
        (
            ["/usr/bin/rbln-stat", "/usr/local/bin/rbln-stat", "/usr/bin/rbln-smi"],
            ["/usr/local/bin/rbln-stat:/usr/bin/rbln-stat", "/usr/bin/rbln-smi:/usr/bin/rbln-smi"],
        ),
        (["/opt/rbln-stat"], []),
    ],
)
def test_the_tools_that_are_there_are_mounted(files: list[str], mounts: list[str]) -> None:
    there: dict[Need, Fact] = {HostFile(path): True for path in files}
    found = told(npu(), ACCELERATOR, {POOLS: "x\nrbln3 0\n", **there})
    assert [f"{one.host}:{one.container}" for one in found.mounts] == mounts


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("header\nrbln0 0 4\n", "rbln0"),
        ("header\n  rbln12\t0\n", "rbln12"),
        ("header\nrbln12", "rbln12"),
        ("header\r\nrbln7 \r\n", "rbln7"),
        ("\nrbln7\nrbln8\n", "rbln7"),
        ("header\nrbln7 cmd queue 0 4\nrbln desc 0 4\n", "rbln7"),
        ("header\ncmd queue 0 4\n../x 0 4\nrbln7 0 4\n", "rbln7"),
    ],
)
def test_a_pools_file(text: str, name: str) -> None:
    found = told(npu(), ACCELERATOR, {POOLS: text})
    assert info(found) == {"rebellions": {"mount": f"/dev/{name}"}}
    assert not found.faults


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a second line that names the node, got 0"),
        ("header\n", "expected a second line that names the node, got 1"),
        ("header\n\n", "expected a node name such as rbln0, got ''"),
        ("header\n../../x 0\n", "expected a node name such as rbln0, got '../../x'"),
        ("header\n/dev/rbln0 0\n", "expected a node name such as rbln0, got '/dev/rbln0'"),
        ("header\nrbln 0\n", "expected a node name such as rbln0, got 'rbln'"),
        ("header\nRBLN0 0\n", "expected a node name such as rbln0, got 'RBLN0'"),
        ("header\nrbln1234567 0\n", "expected a node name such as rbln0, got 'rbln1234567'"),
        ("header\nrbln\u0661 0\n", "expected a node name such as rbln0, got 'rbln\u0661'"),
        ("header\n" + "x" * 999, f"expected a node name such as rbln0, got '{'x' * 40}'"),
    ],
)
def test_a_pools_file_that_names_no_node(text: str, why: str) -> None:
    found = told(npu(), ACCELERATOR, {POOLS: text})
    assert found.faults == (f"its node is not known ({POOLS.path}: {why})",)
    assert not found.nodes


def test_an_npu_whose_file_cannot_be_read() -> None:
    found = told(npu(), ACCELERATOR, {POOLS: Unread("pools: gone")})
    assert found.faults == ("its node is not known (pools: gone)",)
    assert told(npu(), ACCELERATOR).faults == ("its node is not known (not read)",)

"""Which pool gets which device, and what each selector asks."""

import msgspec
import pytest

from rbln_supervisor.core.config.pf_ranges import parse
from rbln_supervisor.core.config.selectors import ATTRIBUTES, SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.core.matching.assign import SelectorRef, assign
from rbln_supervisor.core.matching.selector_match import SELECTOR_KEYS, CompiledSelector, Mismatch
from rbln_worker.contract.device import Device, DeviceId, Grants, Network, PciFunction, Vdpa
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType, PoolName
from tests.unit.inventory import P0, below, node, npu, pf, pool, sf, vf

ALL = SelectorObject()
A, B = PoolName("x.io/a"), PoolName("x.io/b")


def ids(
    found: NodeInventory, *pools: tuple[str, DeviceType, tuple[SelectorObject, ...]]
) -> list[list[str]]:
    assigned = assign([pool(name, kind, *objects) for name, kind, objects in pools], found)
    return [list(devices) for devices in assigned.devices.values()]


def test_the_first_pool_wins() -> None:
    assert ids(
        node(vf(0), vf(1), vf(2)),
        ("a", "netDevice", (below("p0#1"),)),
        ("b", "netDevice", (ALL,)),
        ("c", "netDevice", (ALL,)),
    ) == [["0000:3b:02.1"], ["0000:3b:02.0", "0000:3b:02.2"], []]


def test_the_first_object_wins_and_gives_what_it_says() -> None:
    first = below("p0#0-1", is_rdma=True)
    second = below("p0#1-2", need_vhost_net=True)
    third = SelectorObject(vdpa_type="vhost")
    rdma = Network(link_type="ether", rdma_capable=True)
    vdpa = Network(link_type="ether", vdpa=Vdpa("vdpa0", "vhost"))
    found = node(vf(0, network=rdma), vf(1, network=rdma), vf(2), vf(3, network=vdpa))
    assigned = assign([pool("a", "netDevice", first, second, third)], found)
    assert [device.grants for device in assigned.devices[A].values()] == [
        Grants(rdma=True),
        Grants(rdma=True),
        Grants(vhost_net=True),
        Grants(vdpa="vhost"),
    ]
    assert [place.selector for place in assigned.taken.values()] == [0, 0, 1, 2]


def test_a_subfunction_and_its_function_are_two_devices() -> None:
    found = node(pf(vfs=False), subfunctions=[sf(11), sf(2)])
    assigned = assign([pool("a", "auxNetDevice"), pool("b", "netDevice")], found)
    assert list(assigned.devices[A]) == ["mlx5_core.sf.11", "mlx5_core.sf.2"]  # sorted as text
    assert list(assigned.devices[B]) == [DeviceId(P0)]
    assert assigned.taken[DeviceId("mlx5_core.sf.2")] == SelectorRef(A, 0)


def test_types_do_not_mix() -> None:
    assert ids(
        node(npu(), pf(vfs=False), subfunctions=[sf(1)]),
        ("a", "netDevice", (ALL,)),
        ("b", "accelerator", (ALL,)),
        ("c", "auxNetDevice", (ALL,)),
    ) == [[P0], ["0000:23:00.0"], ["mlx5_core.sf.1"]]


@pytest.mark.parametrize(
    "refused",
    [
        pf(),
        vf(0, driver=None),
        vf(0, network=Network(default_route=True)),
        npu(driver=None),
        msgspec.structs.replace(npu(), has_vfs=True),
    ],
)
def test_what_no_pool_can_have_is_in_none(refused: PciFunction) -> None:
    pools = [pool("a", "netDevice"), pool("b", "accelerator")]
    assert not assign(pools, node(refused)).taken


def test_a_pool_without_devices_is_there_all_the_same() -> None:
    assert assign([pool("a", "netDevice")], NodeInventory()).devices == {A: {}}


RDMA = Network(link_type="infiniband", pkey="0x8001", rdma_capable=True, ddp_profile="gtp")
VIRTIO = Network(link_type="ether", pkey="0x8001", vdpa=Vdpa("vdpa1", "virtio"))

# What the first object of a netDevice pool asks of VF 3 of p0, with these facts → why not.
ASKED: list[tuple[SelectorObject, Network, Mismatch | None]] = [
    (ALL, RDMA, None),
    (SelectorObject(vendors=("8086",)), RDMA, None),
    (SelectorObject(vendors=("8087", "808")), RDMA, Mismatch("vendors", ("8087", "808"), "8086")),
    (SelectorObject(devices=("1889",)), RDMA, None),
    (SelectorObject(devices=("18",)), RDMA, Mismatch("devices", ("18",), "1889")),
    (SelectorObject(drivers=("IAVF",)), RDMA, Mismatch("drivers", ("IAVF",), "iavf")),
    (SelectorObject(pci_addresses=("0000:3b:02.3",)), RDMA, None),
    (
        SelectorObject(pci_addresses=("3b:02.3",)),
        RDMA,
        Mismatch("pciAddresses", ("3b:02.3",), "0000:3b:02.3"),
    ),
    (SelectorObject(acpi_indexes=("", "1")), RDMA, Mismatch("acpiIndexes", ("", "1"), "")),
    (below("P0#3"), RDMA, None),
    (below("p1", "p0#0-2,4"), RDMA, Mismatch("pfNames", ("p1", "p0#0-2,4"), "p0#3")),
    (SelectorObject(root_devices=(parse("0000:3B:00.0#3"),)), RDMA, None),
    (
        SelectorObject(root_devices=(parse("0000:3b:00.0#4"),)),
        RDMA,
        Mismatch("rootDevices", ("0000:3b:00.0#4",), "0000:3b:00.0#3"),
    ),
    (SelectorObject(link_types=("ether", "infiniband")), RDMA, None),
    (SelectorObject(link_types=("ether",)), RDMA, Mismatch("linkTypes", ("ether",), "infiniband")),
    (SelectorObject(ddp_profiles=("gtp",)), RDMA, None),
    (SelectorObject(ddp_profiles=("",)), VIRTIO, Mismatch("ddpProfiles", ("",), "")),
    (SelectorObject(p_keys=("0x8001",)), RDMA, None),
    (SelectorObject(p_keys=("0x8001",)), VIRTIO, Mismatch("pKeys", ("0x8001",), "")),
    (SelectorObject(is_rdma=True), RDMA, None),
    (SelectorObject(is_rdma=True), VIRTIO, Mismatch("isRdma", ("true",), "false")),
    (SelectorObject(need_vhost_net=True), VIRTIO, None),
    (SelectorObject(vdpa_type="virtio"), VIRTIO, None),
    (SelectorObject(vdpa_type="vhost"), VIRTIO, Mismatch("vdpaType", ("vhost",), "virtio")),
    (SelectorObject(vdpa_type="vhost"), RDMA, Mismatch("vdpaType", ("vhost",), "")),
    (SelectorObject(vendors=("x",), drivers=("y",)), RDMA, Mismatch("vendors", ("x",), "8086")),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "network", "objection"), ASKED)
def test_what_a_selector_asks(
    wanted: SelectorObject, network: Network, objection: Mismatch | None
) -> None:
    function = vf(3, network=network)
    questions = CompiledSelector(wanted, DEVICE_TYPES["netDevice"].selectors)
    device = Device(DeviceId(function.bdf), function)
    assert questions.first_mismatch(device) == objection
    assert questions.matches_device(device) == (objection is None)


def test_a_pf_is_in_no_pf_names() -> None:
    assert ids(node(pf(vfs=False)), ("a", "netDevice", (below("p0"),))) == [[]]


def test_a_function_that_is_no_network_device_has_nothing_of_one() -> None:
    bare = PciFunction(P0, "8086", "1592", 0x02, "ice", None)
    for wanted in (
        SelectorObject(is_rdma=True),
        SelectorObject(vdpa_type="vhost"),
        SelectorObject(link_types=("ether",)),
        SelectorObject(p_keys=("0x8001",)),
    ):
        assert ids(node(bare), ("a", "netDevice", (wanted,))) == [[]]


def test_a_subfunction_is_asked_for_itself_and_its_function() -> None:
    found = node(pf(), subfunctions=[sf(1, network=RDMA), sf(2)])
    first = below("p0#81", aux_types=("sf",), link_types=("infiniband",), vendors=("8086",))
    assert ids(found, ("a", "auxNetDevice", (first,)), ("b", "auxNetDevice", (ALL,))) == [
        ["mlx5_core.sf.1"],
        ["mlx5_core.sf.2"],
    ]


def test_a_key_that_a_type_does_not_have_is_not_asked() -> None:
    wanted = SelectorObject(pci_addresses=("0000:00:00.0",))
    assert ids(node(pf(), subfunctions=[sf(1)]), ("a", "auxNetDevice", (wanted,))) == [
        ["mlx5_core.sf.1"]
    ]


def test_every_key_is_a_question_but_for_one_that_gives() -> None:
    assert set(ATTRIBUTES) - set(SELECTOR_KEYS) == {"needVhostNet"}

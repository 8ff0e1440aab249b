"""What is said of a device that somebody asks about."""

import msgspec
import pytest

from rbln_supervisor.core.config.fields import Complaint
from rbln_supervisor.core.config.node_config import InvalidPool
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.matching.explain import Decision, Explanation, PoolDecision, explain
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import Device, DeviceId, Network
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import PoolName
from tests.unit.inventory import below, config, node, npu, pf, pool, sf, vf

A = PoolName("x.io/a")
NODE = node(npu(), pf(), *(vf(index) for index in range(4)), subfunctions=[sf(1), sf(2)])
FOUR = config(
    pool("a", "netDevice", SelectorObject(vendors=("15b3",)), below("p0#0-1")),
    pool("b", "accelerator"),
    pool("c", "netDevice"),
    invalid=[InvalidPool("x.io/d", (Complaint("resourceList[3]", "wrong"),))],
)


def told(name: str, found: NodeInventory = NODE, **gone: Device) -> Explanation:
    explanation = explain(FOUR, found, name, {A: gone.values()})
    assert explanation is not None
    return explanation


def test_a_device_that_a_pool_has() -> None:
    vendor = Mismatch("vendors", ("15b3",), "8086")
    assert told("0000:3b:02.1") == Explanation(
        DeviceId("0000:3b:02.1"),
        "netDevice",
        pool=A,
        selector=1,
        pools=(
            PoolDecision("x.io/a", Decision.MATCHED, 1, (vendor,)),
            PoolDecision("x.io/b", Decision.OTHER_TYPE),
            PoolDecision("x.io/c", Decision.SHADOWED, 0),
            PoolDecision("x.io/d", Decision.INVALID),
        ),
        values={
            "vendors": "8086",
            "devices": "1889",
            "drivers": "iavf",
            "pciAddresses": "0000:3b:02.1",
            "acpiIndexes": "",
            "pfNames": "p0#1",
            "rootDevices": "0000:3b:00.0#1",
            "linkTypes": "ether",
            "ddpProfiles": "",
            "pKeys": "",
            "isRdma": "false",
            "vdpaType": "",
        },
    )


def test_a_device_that_no_pool_wants() -> None:
    explanation = told("mlx5_core.sf.1")
    assert (explanation.device_type, explanation.pool) == ("auxNetDevice", None)
    assert [one.decision for one in explanation.pools] == [
        *[Decision.OTHER_TYPE] * 3,
        Decision.INVALID,
    ]


def test_each_object_says_why_not() -> None:
    only = config(FOUR.pools[0])
    explanation = explain(only, NODE, "0000:3b:02.3", {})
    assert explanation is not None
    assert explanation.pools == (
        PoolDecision(
            "x.io/a",
            Decision.REJECTED,
            None,
            (
                Mismatch("vendors", ("15b3",), "8086"),
                Mismatch("pfNames", ("p0#0-1",), "p0#3"),
            ),
        ),
    )


def test_a_device_that_no_pool_can_have() -> None:
    explanation = told("0000:3b:00.0")
    assert explanation.refusal is RefusalReason.VFS_ENABLED
    assert explanation.detail == RefusalReason.VFS_ENABLED.text
    assert not explanation.pools
    assert not explanation.notes


def test_a_note_names_no_thousand_devices() -> None:
    grouped = (msgspec.structs.replace(vf(index), iommu_group="7") for index in range(101))
    explanation = told("3b:02.0", node(*grouped))
    assert explanation.notes[1].startswith(
        "its IOMMU group 7 also has 0000:3b:02.1, 0000:3b:02.2, "
    )
    assert "0000:3b:04.4, and 80 more: all of them" in explanation.notes[1]


@pytest.mark.parametrize(
    ("name", "device", "notes"),
    [
        ("3b:02.1", "0000:3b:02.1", ("3b:02.1 is read as 0000:3b:02.1",)),
        ("3B:02.1", "0000:3b:02.1", ("3B:02.1 is read as 0000:3b:02.1",)),
        (" 0000:3B:02.1", "0000:3b:02.1", (" 0000:3B:02.1 is read as 0000:3b:02.1",)),
        ("e7", "0000:3b:02.2", ("e7 is an interface of 0000:3b:02.2",)),
    ],
)
def test_other_names_of_a_device(name: str, device: str, notes: tuple[str, ...]) -> None:
    named = vf(2)
    assert named.network
    network = msgspec.structs.replace(named.network, interfaces=("e6", "e7"))
    explanation = told(name, node(vf(1), vf(2, network=network)))
    assert (explanation.device, explanation.notes) == (device, notes)


def test_an_address_in_another_domain() -> None:
    away = "10000:e1:00.0"
    explanation = told("e1:00.0", node(pf(), pf(away, vfs=False)))
    assert (explanation.device, explanation.notes) == (away, (f"e1:00.0 is read as {away}",))
    assert explain(FOUR, node(pf(away), pf("10001:e1:00.0")), "e1:00.0", {}) is None


PORTS = Network(("p0", "p0_0"), representors=("p0_0",), rdma=("mlx5_0",))


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("enp59s0f0np0", ["enp59s0f0np0 is an alternative name of p0, an interface of {}"]),
        ("p0_0", ["p0_0 is an interface of {}"]),
        ("mlx5_0", ["mlx5_0 is an RDMA device of {}"]),
        ("/sys/class/infiniband/mlx5_0", ["mlx5_0 is an RDMA device of {}"]),
    ],
)
def test_names_of_what_belongs_to_a_device(name: str, notes: list[str]) -> None:
    found = node(msgspec.structs.replace(pf(vfs=False), network=PORTS))
    explanation = explain(FOUR, found, name, {}, {"enp59s0f0np0": "p0"})
    assert explanation is not None
    assert explanation.notes == tuple(note.format("0000:3b:00.0") for note in notes)


@pytest.mark.parametrize(
    ("selector", "device", "hint"),
    [
        (
            SelectorObject(pci_addresses=("0000:3b:00.0",)),
            "0000:3b:00.0",
            "x.io/a selectors[0].pciAddresses has the address of the PF 0000:3b:00.0, which "
            "selects only the PF: rootDevices selects the functions below it",
        ),
        (
            SelectorObject(pci_addresses=("0000:3b:00.0",)),
            "0000:3b:02.1",
            "x.io/a selectors[0].pciAddresses has the address of the PF 0000:3b:00.0, which "
            "selects only the PF: rootDevices selects the functions below it",
        ),
        (
            below("enp59s0f0np0#0-3"),
            "0000:3b:02.1",
            "x.io/a selectors[0].pfNames has enp59s0f0np0, an alternative name of its PF p0: "
            "pfNames accepts p0",
        ),
        (SelectorObject(pci_addresses=("0000:3b:02.1",)), "0000:3b:02.1", None),
        (below("p0"), "0000:3b:02.1", None),
        (below("elsewhere"), "0000:3b:02.1", None),
    ],
)
def test_what_is_mixed_up_is_said(selector: SelectorObject, device: str, hint: str | None) -> None:
    alone = config(pool("a", "netDevice", selector))
    found = node(pf(), vf(1))
    explanation = explain(alone, found, device, {}, {"enp59s0f0np0": "p0", "elsewhere": "p9"})
    assert explanation is not None
    said = [note for note in explanation.notes if "selectors[" in note]
    assert said == ([hint] if hint else [])


def test_a_device_that_can_not_be_read() -> None:
    found = NodeInventory(unreadable={"0000:3b:02.1": "driver: expected a link"})
    assert told("3b:02.1", found) == Explanation(
        DeviceId("0000:3b:02.1"),
        None,
        refusal=RefusalReason.UNREADABLE,
        detail="it can't be read: driver: expected a link",
        notes=("3b:02.1 is read as 0000:3b:02.1",),
    )


def test_a_device_that_is_gone_and_still_listed() -> None:
    device = Device(DeviceId("0000:3b:02.1"), vf(1), gone="unplugged")
    assert told("0000:3b:02.1", NodeInventory(), device=device) == Explanation(
        DeviceId("0000:3b:02.1"),
        None,
        refusal=RefusalReason.GONE,
        detail="it does not exist any more",
        notes=("x.io/a lists it as Unhealthy for a while: unplugged",),
    )


def test_a_device_that_another_pool_lists_still() -> None:
    device = Device(DeviceId("0000:3b:02.1"), vf(1), gone="driver x is bound to it, iavf was")
    explanation = told("0000:3b:02.1", node(vf(1, driver=None)), device=device)
    assert explanation.refusal is RefusalReason.NO_DRIVER
    assert explanation.notes == (
        "x.io/a lists it as Unhealthy for a while: driver x is bound to it, iavf was",
    )


@pytest.mark.parametrize("name", ["", "0000:00:00.0", "nonsense", "p0\n", "\0", "x" * 100_000])
def test_what_nobody_knows(name: str) -> None:
    assert explain(FOUR, NODE, name, {}) is None

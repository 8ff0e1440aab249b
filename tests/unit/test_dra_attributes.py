"""What a ResourceSlice says of a device: attributes, capacity and taints."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import (
    AuxName,
    Bdf,
    Device,
    DeviceId,
    Network,
    PciFunction,
    Subfunction,
)
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.pool import DraExport, PoolSpec
from rbln_worker.core.dra.attributes import (
    MAX_PROPERTIES,
    device_properties,
    pcie_root,
    quantity_text,
    version_attribute,
)
from rbln_worker.core.dra.resource_slice import DeviceAttribute
from rbln_worker.core.dra.slices import (
    MAX_DEVICES,
    desired_pool,
    name_prefix,
    slice_index,
    split_devices,
)
from rbln_worker.core.dra.taints import device_taints
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.health.inspect import DeviceInspector
from rbln_worker.host.facts import Reader
from tests.sim.device import SimDevice
from tests.sim.drivers import DRAM_BYTES, KMD
from tests.sim.node import SimNode

DRIVER = "npu.rebellions.ai"
POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator", dra=DraExport(DRIVER, ("aer",)))
BRIDGES = (Bdf("0000:3a:00.0"), Bdf("0000:3b:00.0"), Bdf("0000:3c:01.0"))
DETAILS = {
    "card_name": "RBLN-CA25",
    "kernel_version": "3.0.0-rc1+5",
    "fw_version": "v1.2",
    "uuid": "8b51-04",
    "sid": "0000000022513338",
    "dram_total": "17179869184",
}


def npu(bdf: str = "0000:3d:00.0", **changes: object) -> Device:
    function = PciFunction(Bdf(bdf), "1eff", "1250", 0x12, "rebellions", 1, bridges=BRIDGES)
    return Device(DeviceId(bdf), msgspec.structs.replace(function, **changes))


def said(
    device: Device, details: Mapping[str, str] = DETAILS, card: str = "0000:3b:00.0"
) -> dict[str, str | int | None]:
    """The attributes of a device, without the kinds of their values."""
    found = device_properties(device, POOL, details, Bdf(card)).attributes
    return {
        name: next(one for one in (value.string, value.version, value.integer) if one is not None)
        for name, value in found.items()
    }


def test_an_npu_has_the_standard_names_the_vendors_and_ours() -> None:
    assert said(npu()) == {
        "resource.kubernetes.io/pciBusID": "0000:3d:00.0",
        "resource.kubernetes.io/pcieRoot": "pci0000:3a",
        "resource.kubernetes.io/numaNode": 1,
        "dra.net/numaNode": 1,
        "type": "npu",
        "productName": "RBLN-CA25",
        "pciDeviceID": "1250",
        "driverVersion": "3.0.0-rc1+5",
        "firmwareVersion": "v1.2",
        "uuid": "8b51-04",
        "sid": "0000000022513338",
        "resourcePool": "rebellions.ai/ATOM",
        "card": "0000:3b:00.0",
    }
    assert device_properties(npu(), POOL, DETAILS).capacity["memory"].value == "16Gi"


def test_a_function_on_vfio_is_named_by_its_pci_id() -> None:
    vf = npu(product="1251", driver="vfio-pci", pf=Bdf("0000:3d:00.0"), index=3, numa_node=None)
    shown = said(vf, {})
    assert shown["type"] == "vfio"
    assert shown["productName"] == "RBLN-CA25"
    assert (shown["pf"], shown["vfIndex"]) == ("0000:3d:00.0", 3)
    assert not {"uuid", "driverVersion", "dra.net/numaNode"} & shown.keys()


def test_a_subfunction_does_not_have_its_parents_address() -> None:
    parent = npu(vendor="15b3", product="a2dc", driver="mlx5_core")
    part = Subfunction(AuxName("mlx5_core.sf.4"), "sf", 88, Bdf("0000:3d:00.0"), (), Network())
    shown = said(Device(DeviceId(part.name), parent.function, part), {})
    assert "resource.kubernetes.io/pciBusID" not in shown
    assert (shown["pf"], shown["sfNumber"]) == ("0000:3d:00.0", 88)
    assert "productName" not in shown


def test_without_a_bridge_the_root_is_the_devices_own_bus() -> None:
    assert pcie_root(npu(bridges=())) == "pci0000:3d"
    assert pcie_root(npu(bridges=(Bdf("10000:e0:01.0"),))) == "pci10000:e0"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.0.0", "3.0.0"),
        ("v3.5.1", "3.5.1"),
        ("1.2.3-rebel1", "1.2.3-rebel1"),
        ("1.2.3-alpha.10+build.7", "1.2.3-alpha.10+build.7"),
        ("1.2", None),
        ("01.2.3", None),
        ("1.2.3-01", None),
        ("1.2.3~git", None),
        ("1.2.3-", None),
        ("٣.0.0", None),
    ],
)
def test_a_version_is_one_only_by_semver(text: str, version: str | None) -> None:
    expected = DeviceAttribute(string=text) if version is None else DeviceAttribute(version=version)
    assert version_attribute(text) == expected


def test_what_is_too_long_is_left_out_and_named() -> None:
    found = device_properties(npu(), POOL, {**DETAILS, "uuid": "é" * 33, "sid": "s" * 64})
    assert found.left_out == ("uuid",)
    assert found.attributes["sid"].string == "s" * 64
    assert len(found.attributes) + len(found.capacity) <= MAX_PROPERTIES


@given(st.integers(0, 2**62))
def test_a_quantity_has_its_value_and_the_servers_form(number: int) -> None:
    text = quantity_text(number)
    match = re.fullmatch(r"([0-9]+)(|[KMGTPE]i|[kMGTPE])", text)
    assert match
    power = "kMGTPE".find(match[2][:1].lower() if match[2] == "Ki" else match[2][:1]) + 1
    base = 1024 if match[2].endswith("i") else 1000
    assert int(match[1]) * (base**power if match[2] else 1) == number
    assert not match[2] or int(match[1]) % base or match[2] in {"E", "Ei"}


@pytest.mark.parametrize("phase", [HealthPhase.HEALTHY, HealthPhase.SUSPECT, HealthPhase.UNKNOWN])
def test_a_device_that_may_be_given_has_no_taint(phase: HealthPhase) -> None:
    assert device_taints(DraExport(DRIVER), Verdict(healthy=True, phase=phase, source="link")) == ()


@pytest.mark.parametrize(
    ("source", "effect", "value"),
    [
        ("npu-status", "NoSchedule", "npu-status"),
        ("aer", "NoExecute", "aer"),
        ("", "NoSchedule", ""),
        ("a b/c" + "x" * 99, "NoSchedule", "a-b-c" + "x" * 58),
    ],
)
def test_a_taint_says_where_the_evidence_is_from(source: str, effect: str, value: str) -> None:
    assert POOL.dra
    (taint,) = device_taints(POOL.dra, Verdict(healthy=False, source=source))
    assert (taint.key, taint.effect, taint.value) == (f"{DRIVER}/unhealthy", effect, value)


def test_devices_are_in_the_order_of_their_addresses_once_they_are_judged() -> None:
    devices = {
        one.id: one for one in (npu("0000:3e:00.0"), npu("0000:3d:00.0"), npu("0000:3f:00.0"))
    }
    verdicts = {
        DeviceId("0000:3d:00.0"): Verdict(healthy=True),
        DeviceId("0000:3e:00.0"): Verdict(healthy=False),
    }
    found = desired_pool(POOL, "node-1", devices, verdicts, {})
    assert [(one.name, len(one.taints)) for one in found.devices] == [
        ("0000-3d-00-0", 0),
        ("0000-3e-00-0", 1),
    ]
    assert {one.attributes["card"].string for one in found.devices} == {"0000:3c:01.0"}


def test_a_slice_that_is_gone_lets_all_be_partitioned_anew() -> None:
    devices = desired_pool(
        POOL,
        "node-1",
        {one.id: one for one in (npu(f"0000:{bus:02x}:00.0") for bus in range(1, 130))},
        {DeviceId(f"0000:{bus:02x}:00.0"): Verdict(healthy=True) for bus in range(1, 130)},
        {},
    ).devices
    assert [len(one) for one in split_devices(devices, ())] == [MAX_DEVICES, MAX_DEVICES, 1]
    names = [device.name for device in devices]
    sparse = [names[:10], names[10:20], names[129:]]
    assert [len(one) for one in split_devices(devices[:20], sparse)] == [20]
    assert [len(one) for one in split_devices(devices[:15], sparse[:2])] == [10, 5]
    assert [len(one) for one in split_devices(devices[:30], sparse[:2])] == [20, 10]


def test_a_slices_name_has_its_index_first() -> None:
    assert slice_index(f"{name_prefix(7, DRIVER, 'node-1')}x2v4q", DRIVER, "node-1") == 7
    long = "a-node-with-a-long-name.in-a-domain.example.com"
    assert slice_index(f"{name_prefix(0, DRIVER, long)}x2v4q", DRIVER, long) == 0
    assert len(name_prefix(0, DRIVER, long)) == 58
    for name in ("", "00", "node-1-npu.rebellions.ai-x2v4q", "001-other-node-1-x2v4q"):
        assert slice_index(name, DRIVER, "node-1") is None


def test_a_health_check_reads_the_details_in_a_dra_pool_only(tmp_path: Path) -> None:
    node = SimNode(tmp_path)
    bdf = "0000:3d:00.0"
    node.add(SimDevice(bdf, device="1250", rbln="rbln0"))
    node.set_class_attribute("rbln0", "uuid", "8b51\n")
    node.set_class_attribute("rbln0", "sid", "\x1b[2J\n")
    inspector = DeviceInspector(lambda _: "")

    def check(pool: PoolSpec, depth: Depth = Depth.IF_CHANGED) -> CheckResult | None:
        return inspector.check_device(Reader(tmp_path, host_visible=True), npu(), pool, depth)

    plain = check(msgspec.structs.replace(POOL, dra=None))
    assert plain is not None
    assert plain.answer is not None
    assert plain.answer.details == {}
    found = check(POOL)
    assert found is not None
    assert found.answer is not None
    assert found.answer.details == {
        "card_name": "RBLN-CA25",
        "kernel_version": KMD,
        "uuid": "8b51",
        "dram_total": str(DRAM_BYTES),
    }
    assert check(POOL) is None
    node.set_class_attribute("rbln0", "fw_version", "1.2.3\n")
    changed = check(POOL)
    assert changed is not None
    assert changed.answer is not None
    assert changed.answer.details["fw_version"] == "1.2.3"

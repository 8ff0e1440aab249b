"""Selectors of functions with a network interface, and of sub-functions."""

import pytest

from rbln_supervisor.core.config.pf_ranges import PfRange, Range
from rbln_supervisor.core.config.selectors import ATTRIBUTES, SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from tests.unit.configuring import NOTHING, pool, with_good

FUNCTIONS = "expected like p0#0,2-7,9, got"
ROOTS = "expected like 0000:3b:00.0#0,2-7,9, got"

# Of a netDevice pool; the first element of the selectors, if it is an object alone.
OF_NICS: list[tuple[object, str]] = [
    ({"isRdma": "true"}, "isRdma: expected boolean, got string"),
    ({"needVhostNet": 1}, "needVhostNet: expected boolean, got number"),
    ({"vdpaType": True}, "vdpaType: expected string, got boolean"),
    ({"vdpaType": "zzz"}, 'vdpaType: expected vhost, virtio, got "zzz"'),
    ({"vdpaType": "Vhost"}, 'vdpaType: expected vhost, virtio, got "Vhost"'),
    (
        {"isRdma": True, "vdpaType": "virtio"},
        "vdpaType: expected no vdpaType beside isRdma in one object "
        '(two objects may have one each), got "virtio"',
    ),
    ({"linkTypes": "ether"}, "linkTypes: expected array, got string"),
    ({"ddpProfiles": [None]}, "ddpProfiles[0]: expected string, got null"),
    ({"pKeys": [0x8001]}, "pKeys[0]: expected string, got number"),
    ({"pfNames": "p0"}, "pfNames: expected array, got string"),
    ({"pfNames": ["p0", 1]}, "pfNames[1]: expected string, got number"),
    ({"pfNames": [""]}, f'pfNames[0]: {FUNCTIONS} ""'),
    ({"pfNames": ["#1"]}, f'pfNames[0]: {FUNCTIONS} "#1"'),
    ({"pfNames": ["p0#0#1"]}, f'pfNames[0]: {FUNCTIONS} "p0#0#1"'),
    ({"pfNames": ["p0", "p0#"]}, f'pfNames[1]: {FUNCTIONS} "p0#"'),
    ({"pfNames": ["p0#1,"]}, f'pfNames[0]: {FUNCTIONS} "p0#1,"'),
    ({"pfNames": ["p0#5-3"]}, f'pfNames[0]: {FUNCTIONS} "p0#5-3"'),
    ({"pfNames": ["p0#0,x"]}, f'pfNames[0]: {FUNCTIONS} "p0#0,x"'),
    ({"pfNames": ["p0#+2"]}, f'pfNames[0]: {FUNCTIONS} "p0#+2"'),
    ({"pfNames": ["p0#-1"]}, f'pfNames[0]: {FUNCTIONS} "p0#-1"'),
    ({"pfNames": ["p0#\u0663"]}, f'pfNames[0]: {FUNCTIONS} "p0#\u0663"'),
    ({"pfNames": ["p0#4294967296"]}, f'pfNames[0]: {FUNCTIONS} "p0#4294967296"'),
    ({"rootDevices": ["0000:3b:00.0#0-1-2"]}, f'rootDevices[0]: {ROOTS} "0000:3b:00.0#0-1-2"'),
]


@pytest.mark.parametrize("device_type", ["netDevice", NOTHING, None, ""])
def test_a_pool_without_a_type_has_nics(device_type: object) -> None:
    config = with_good(pool(deviceType=device_type, selectors={}))
    assert config.pools[1].spec.device_type == "netDevice"
    assert not config.warnings


@pytest.mark.parametrize(("selectors", "complaint"), OF_NICS)
def test_a_wrong_value_of_a_network_selector(selectors: object, complaint: str) -> None:
    wrong = pool(deviceType="netDevice", selectors=[{}, selectors])
    config = with_good(wrong)
    (invalid,) = config.invalid
    lines = [str(each) for each in invalid.complaints]
    assert lines == [f"resourceList[1].selectors[1].{complaint}"]
    assert not config.warnings


# Of an auxNetDevice pool.
MISSING = 'auxTypes: expected ["sf"]'
OF_SUBFUNCTIONS: list[tuple[object, list[str]]] = [
    ({}, [MISSING]),
    ({"auxTypes": None}, [MISSING]),
    ({"auxTypes": []}, [MISSING]),
    ({"auxTypes": "sf"}, ["auxTypes: expected array, got string", MISSING]),
    ({"auxTypes": ["sf", "eth"]}, ['auxTypes[1]: expected sf, got "eth"']),
    ({"auxTypes": ["SF"]}, ['auxTypes[0]: expected sf, got "SF"', MISSING]),
    ({"auxTypes": [None]}, ["auxTypes[0]: expected string, got null", MISSING]),
    ({"auxTypes": ["sf"], "pfNames": ["p0#1-"]}, [f'pfNames[0]: {FUNCTIONS} "p0#1-"']),
]


@pytest.mark.parametrize(("selectors", "complaints"), OF_SUBFUNCTIONS)
def test_a_wrong_value_of_a_selector_of_subfunctions(
    selectors: object, complaints: list[str]
) -> None:
    wrong = pool(deviceType="auxNetDevice", selectors=[{"auxTypes": ["sf"]}, selectors])
    config = with_good(wrong)
    (invalid,) = config.invalid
    lines = [str(each) for each in invalid.complaints]
    assert lines == [f"resourceList[1].selectors[1].{one}" for one in complaints]


def test_rdma_and_vdpa_in_two_objects() -> None:
    config = with_good(
        pool(deviceType="netDevice", selectors=[{"isRdma": True}, {"vdpaType": "vhost"}])
    )
    assert config.pools[1].selectors == (
        SelectorObject(is_rdma=True),
        SelectorObject(vdpa_type="vhost"),
    )


def test_every_selector_of_a_nic() -> None:
    config = with_good(
        pool(
            deviceType="netDevice",
            selectors={
                "vendors": ["8086"],
                "devices": ["1889"],
                "drivers": ["iavf"],
                "pciAddresses": ["0000:3b:02.0"],
                "acpiIndexes": ["101"],
                "pfNames": ["ens1f0#0,2-7,09", "p1"],
                "rootDevices": ["0000:3B:00.0#1"],
                "linkTypes": ["ether"],
                "ddpProfiles": ["GTPv1-C/U IPv4/IPv6 payload"],
                "pKeys": ["0x8001"],
                "isRdma": True,
                "needVhostNet": True,
                "vdpaType": "",
            },
        )
    )
    assert not config.warnings
    assert config.pools[1].selectors == (
        SelectorObject(
            vendors=("8086",),
            devices=("1889",),
            drivers=("iavf",),
            pci_addresses=("0000:3b:02.0",),
            acpi_indexes=("101",),
            pf_names=(
                PfRange("ens1f0", (Range(0, 0), Range(2, 7), Range(9, 9))),
                PfRange("p1"),
            ),
            root_devices=(PfRange("0000:3B:00.0", (Range(1, 1),)),),
            link_types=("ether",),
            ddp_profiles=("GTPv1-C/U IPv4/IPv6 payload",),
            p_keys=("0x8001",),
            is_rdma=True,
            need_vhost_net=True,
        ),
    )


def test_every_key_is_one_of_some_type_and_has_a_place_in_a_selector_object() -> None:
    assert {key for kind in DEVICE_TYPES.values() for key in kind.selectors} == set(ATTRIBUTES)


def test_a_forgotten_type_is_asked_about() -> None:
    assert with_good(pool(deviceType=NOTHING)).warnings == (
        "resourceList[1].deviceType: missing, which means netDevice (did you mean accelerator?)",
    )

"""The configuration's rules: what is served, and the very words in which the rest is refused."""

import json
from typing import Any

import pytest

from rbln_supervisor.core.configuration.config import (
    Complaint,
    ConfigError,
    InvalidPool,
    NodeConfig,
    PoolConfig,
    SelectorObject,
    parse,
    strict,
)
from rbln_supervisor.core.configuration.selectors import ATTRIBUTES
from rbln_supervisor.core.ranges import PfFunctions, Range
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.contract.pool import PoolSpec

GOOD: dict[str, Any] = {
    "resourceName": "ATOM",
    "resourcePrefix": "rebellions.ai",
    "deviceType": "accelerator",
    "selectors": [{"vendors": ["1eff"]}],
}
NOTHING = object()


def parse_value(value: object, prefix: str = "intel.com") -> NodeConfig:
    return parse(json.dumps(value).encode(), prefix=prefix)


def pool(**changes: object) -> dict[str, object]:
    """A good pool with changes; NOTHING takes a key away."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not NOTHING}


def with_good(second: object) -> NodeConfig:
    """A good pool named other, and a second one."""
    return parse_value({"resourceList": [pool(resourceName="other"), second]})


def test_a_pool_of_every_key() -> None:
    config = parse_value(
        {
            "resourceList": [
                {
                    "resourceName": "A-1_b",
                    "resourcePrefix": "rebellions.ai",
                    "deviceType": "accelerator",
                    "excludeTopology": True,
                    "allowCrossNuma": True,
                    "preferredAllocation": "packed",
                    "selectors": {
                        "vendors": ["1eff"],
                        "devices": ["1250", "1251"],
                        "drivers": ["rebellions"],
                        "pciAddresses": ["0000:3b:00.0"],
                        "acpiIndexes": ["101"],
                    },
                    "additionalInfo": {"*": {"a": "b"}, "0000:3b:00.0": {}},
                }
            ]
        }
    )
    assert config == NodeConfig(
        (
            PoolConfig(
                PoolSpec(
                    "rebellions.ai",
                    "A-1_b",
                    "accelerator",
                    exclude_topology=True,
                    allow_cross_numa=True,
                    preferred_allocation="packed",
                    additional_info={"*": {"a": "b"}, "0000:3b:00.0": {}},
                ),
                (
                    SelectorObject(
                        vendors=("1eff",),
                        devices=("1250", "1251"),
                        drivers=("rebellions",),
                        pci_addresses=("0000:3b:00.0",),
                        acpi_indexes=("101",),
                    ),
                ),
            ),
        )
    )
    assert strict(config) is config


@pytest.mark.parametrize("prefix", [None, "", NOTHING])
def test_a_pool_without_prefix_has_the_flags(prefix: object) -> None:
    config = parse_value({"resourceList": [pool(resourcePrefix=prefix)]}, prefix="acme.com")
    assert config.pools[0].spec.name == "acme.com/ATOM"


@pytest.mark.parametrize("selectors", [{}, [{}], [{"vendors": None}], {"vendors": []}])
def test_selectors_that_say_nothing_match_everything(selectors: object) -> None:
    config = with_good(pool(selectors=selectors))
    assert config.pools[1].selectors == (SelectorObject(),)
    assert not config.warnings


def test_null_is_the_default() -> None:
    config = with_good(pool(excludeTopology=None, allowCrossNuma=None, preferredAllocation=None))
    assert config.pools[1].spec == PoolSpec("rebellions.ai", "ATOM", "accelerator")


@pytest.mark.parametrize("policy", ["", "topology", "packed", "spread", "none"])
def test_a_pool_names_its_policy_for_preferred_allocations(policy: str) -> None:
    in_json = with_good(pool(preferredAllocation=policy))
    text = f"{{resourceName: ATOM, selectors: {{}}, preferredAllocation: {policy}}}"
    in_yaml = parse(f"resourceList: [{text}]".encode(), prefix="intel.com")
    for config in (in_json, in_yaml):
        assert config.pools[-1].spec.preferred_allocation == policy
        assert not config.invalid
        assert not config.warnings


@pytest.mark.parametrize(
    "policy", ["a\n" * 9999, "none ", "\x00", "\N{LATIN SMALL LETTER LONG S}pread"]
)
def test_another_policy_is_refused_on_one_line(policy: str) -> None:
    (invalid,) = with_good(pool(preferredAllocation=policy)).invalid
    (complaint,) = map(str, invalid.complaints)
    assert "expected topology, packed, spread or none, got " in complaint
    assert len(complaint) < 300
    assert complaint.isprintable()


def test_an_empty_additional_info_is_given() -> None:
    assert with_good(pool(additionalInfo={})).pools[1].spec.additional_info == {}


def test_keys_match_whatever_their_case() -> None:
    config = parse_value(
        {
            "RESOURCELIST": [
                {
                    "ResourceName": "ATOM",
                    "resourceprefix": "rebellions.ai",
                    "DEVICETYPE": "accelerator",
                    "\u017felectors": {"VENDOR\u017f": ["1eff"]},  # long s, as the reference
                }
            ]
        }
    )
    assert config == parse_value({"resourceList": [GOOD]})


def test_a_key_in_two_spellings_is_one_key() -> None:
    config = parse_value({"resourceList": [pool(RESOURCENAME="B", deviceTYPE=None)]})
    assert [pool.spec.name for pool in config.pools] == ["rebellions.ai/B"]
    assert config.warnings == (
        "resourceList[0].resourceName: repeated in another spelling (the last counts)",
        "resourceList[0].deviceType: repeated in another spelling (the last counts)",
    )


WHOLE_FILE = {
    "": "the file is empty: expected an object with resourceList",
    "null": "the file: expected object, got null",
    "[]": "the file: expected object, got array",
    "12": "the file: expected object, got number",
    "true": "the file: expected object, got boolean",
    "some text": "the file: expected object, got string",
    "{}": "resourceList: missing, expected array",
    '{"resourceList": null}': "resourceList: expected array, got null",
    '{"resourceList": {}}': "resourceList: expected array, got object",
    '{"resourceList": []}': "resourceList: expected at least one pool, got an empty array",
    '{"resourceList": [null]}': "resourceList[0]: expected object, got null",
    '{"resourceList": ["ATOM"]}': "resourceList[0]: expected object, got string",
    '{"resourceList": [}': "line 1, column 19: expected a value, got '}'",
}


@pytest.mark.parametrize(("text", "message"), WHOLE_FILE.items())
def test_a_file_without_any_pool_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), prefix="intel.com")
    assert caught.value.errors == (message,)


LETTERS = "expected letters, digits, _ and -, with a letter or digit at both ends"
DNS = "expected a DNS name such as rebellions.ai (lower-case letters, digits, - and .)"
FUNCTIONS = "expected like p0#0,2-7,9, got"
ROOTS = "expected like 0000:3b:00.0#0,2-7,9, got"
OBJECTS = "expected object or array of objects"

SECONDS = "expected a number of seconds from 0 to 86400"
COMPLAINTS: list[tuple[dict[str, object], str]] = [
    ({"resourceName": NOTHING}, "resourceName: missing, expected string"),
    ({"resourceName": None}, "resourceName: expected string, got null"),
    ({"resourceName": 7}, "resourceName: expected string, got number"),
    ({"resourceName": ""}, f'resourceName: "": {LETTERS}'),
    ({"resourceName": "a.b"}, f'resourceName: "a.b": {LETTERS}'),
    ({"resourceName": "ab\n"}, f'resourceName: "ab\\n": {LETTERS}'),
    ({"resourceName": "-ab"}, f'resourceName: "-ab": {LETTERS}'),
    ({"resourceName": "ab_"}, f'resourceName: "ab_": {LETTERS}'),
    ({"resourceName": "ä"}, f'resourceName: "ä": {LETTERS}'),
    (
        {"resourceName": "a" * 64},
        f'resourceName: "{"a" * 64}": expected at most 63 characters, got 64',
    ),
    ({"resourcePrefix": 1}, "resourcePrefix: expected string, got number"),
    ({"resourcePrefix": "Rebellions.AI"}, f'resourcePrefix: "Rebellions.AI": {DNS}'),
    ({"resourcePrefix": "a..b"}, f'resourcePrefix: "a..b": {DNS}'),
    ({"resourcePrefix": "a.com/x"}, f'resourcePrefix: "a.com/x": {DNS}'),
    ({"resourcePrefix": "a.com\n"}, f'resourcePrefix: "a.com\\n": {DNS}'),
    (
        {"resourcePrefix": "a" * 245},
        f'resourcePrefix: "{"a" * 80}…": expected at most 244 characters, got 245',
    ),
    (
        {"resourcePrefix": "node.kubernetes.io"},
        'resourcePrefix: "node.kubernetes.io": '
        "expected a prefix that is not Kubernetes' own (kubernetes.io)",
    ),
    (
        {"resourcePrefix": "requests.io"},
        'resourcePrefix: "requests.io": '
        "expected a prefix that does not begin with requests. (a quota's)",
    ),
    (
        {"deviceType": "Accelerator"},
        'deviceType: unknown deviceType "Accelerator", '
        "expected accelerator, netDevice or auxNetDevice",
    ),
    ({"deviceType": 0}, "deviceType: expected string, got number"),
    ({"excludeTopology": "true"}, "excludeTopology: expected boolean, got string"),
    ({"allowCrossNuma": 1}, "allowCrossNuma: expected boolean, got number"),
    ({"preferredAllocation": True}, "preferredAllocation: expected string, got boolean"),
    ({"preferredAllocation": ["packed"]}, "preferredAllocation: expected string, got array"),
    ({"preferredAllocation": "Packed"}, "preferredAllocation: expected topology, packed, spread "
                                        'or none, got "Packed"'),
    ({"selectors": NOTHING}, f"selectors: missing, {OBJECTS}"),
    ({"selectors": None}, f"selectors: {OBJECTS}, got null"),
    ({"selectors": "1eff"}, f"selectors: {OBJECTS}, got string"),
    ({"selectors": []}, "selectors: expected at least one object, got an empty array"),
    ({"selectors": [None]}, "selectors[0]: expected object, got null"),
    ({"selectors": [{}, []]}, "selectors[1]: expected object, got array"),
    ({"selectors": [{"vendors": "1eff"}]}, "selectors[0].vendors: expected array, got string"),
    ({"selectors": {"vendors": "1eff"}}, "selectors.vendors: expected array, got string"),
    ({"selectors": {"VENDORS": {}}}, "selectors.VENDORS: expected array, got object"),
    ({"selectors": {"devices": [1250]}}, "selectors.devices[0]: expected string, got number"),
    ({"selectors": {"drivers": ["a", None]}}, "selectors.drivers[1]: expected string, got null"),
    ({"additionalInfo": []}, "additionalInfo: expected object, got array"),
    ({"additionalInfo": {"*": "a"}}, 'additionalInfo["*"]: expected object, got string'),
    ({"additionalInfo": {"*": {"a": 1}}}, 'additionalInfo["*"]["a"]: expected string, got number'),
    ({"health": []}, "health: expected object, got array"),
    ({"health": {"linkState": "on"}}, "health.linkState: expected boolean, got string"),
    ({"health": {"suspectSeconds": "0.03"}}, "health.suspectSeconds: expected number, got string"),
    ({"health": {"suspectSeconds": True}}, "health.suspectSeconds: expected number, got boolean"),
    ({"health": {"SUSPECTSECONDS": [1]}}, "health.SUSPECTSECONDS: expected number, got array"),
    ({"health": {"unknownHoldSeconds": -1}}, f"health.unknownHoldSeconds: {SECONDS}, got -1"),
    ({"health": {"unknownHoldSeconds": 86400.5}}, f"health.unknownHoldSeconds: {SECONDS}, "
                                                  "got 86400.5"),
    ({"health": {"unknownHoldSeconds": 10**400}}, f"health.unknownHoldSeconds: {SECONDS}, "
                                                  "got a longer one"),
    ({"health": {"probation": 5}}, "health.probation: expected object, got number"),
    ({"health": {"probation": {"calmSeconds": {}}}}, "health.probation.calmSeconds: "
                                                     "expected number, got object"),
    ({"resourceName": "other"}, "resourceName: rebellions.ai/other is the name of resourceList[0], "
                                "expected a name of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "complaint"), COMPLAINTS)
def test_a_wrong_pool_is_set_aside_with_what_was_expected(
    changes: dict[str, object], complaint: str
) -> None:
    config = with_good(pool(**changes))
    assert [pool.spec.name for pool in config.pools] == ["rebellions.ai/other"]
    (invalid,) = config.invalid
    assert [str(each) for each in invalid.complaints] == [f"resourceList[1].{complaint}"]
    assert not config.warnings
    with pytest.raises(ConfigError) as caught:
        strict(config)
    assert caught.value.errors == (f"resourceList[1].{complaint}",)


def test_all_complaints_come_at_once() -> None:
    bad = pool(
        resourceName="a.b",
        excludeTopology="yes",
        selectors=[{"vendors": "1eff", "devices": [1, 2]}, None],
        additionalInfo=1,
    )
    places = [complaint.place for complaint in with_good(bad).invalid[0].complaints]
    assert places == [
        "resourceList[1].resourceName",
        "resourceList[1].excludeTopology",
        "resourceList[1].additionalInfo",
        "resourceList[1].selectors[0].vendors",
        "resourceList[1].selectors[0].devices[0]",
        "resourceList[1].selectors[0].devices[1]",
        "resourceList[1].selectors[1]",
    ]


def test_without_a_usable_pool_the_file_is_refused_with_all_complaints_up_to_a_bound() -> None:
    one = pool(selectors=[])
    with pytest.raises(ConfigError) as caught:
        parse_value({"resourceList": [one] * 25})
    assert len(caught.value.errors) == 21
    assert caught.value.errors[-1] == "and 5 more"
    assert "\n".join(caught.value.errors) == str(caught.value)


def test_the_warnings_of_a_refused_file_may_tell_the_cause() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value({"resourceList": [pool(selectors=NOTHING, selector={})]})
    assert caught.value.warnings == (
        "resourceList[0].selector: unknown key, ignored (did you mean selectors?)",
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"selectors": []}, "rebellions.ai/ATOM"),
        ({"resourceName": "a.b"}, "rebellions.ai/a.b"),
        ({"resourceName": "other"}, "resourceList[1]"),  # a valid pool's
        ({"resourceName": "a\n"}, "resourceList[1]"),
        ({"resourceName": 1}, "resourceList[1]"),
        ({"resourcePrefix": 1}, "resourceList[1]"),
        ({"resourceName": "a" * 400}, "resourceList[1]"),
    ],
)
def test_an_invalid_pool_is_called_by_its_name_or_its_place(
    changes: dict[str, object], name: str
) -> None:
    assert with_good(pool(**changes)).invalid[0].name == name


def test_no_two_pools_have_one_name_in_a_status() -> None:
    bad = pool(selectors=[])
    config = parse_value({"resourceList": [bad, bad, pool(resourceName="x"), bad]})
    assert [pool.name for pool in config.invalid] == [
        "rebellions.ai/ATOM",
        "resourceList[1]",
        "resourceList[3]",
    ]


def test_an_explicit_prefix_collides_with_the_flags() -> None:
    config = parse_value(
        {"resourceList": [pool(resourcePrefix=NOTHING), pool(resourcePrefix="rebellions.ai")]},
        prefix="rebellions.ai",
    )
    text = "rebellions.ai/ATOM is the name of resourceList[0], expected a name of its own"
    assert config.invalid == (
        InvalidPool("resourceList[1]", (Complaint("resourceList[1].resourceName", text),)),
    )


def test_one_name_below_two_prefixes_is_two_names() -> None:
    config = parse_value({"resourceList": [pool(), pool(resourcePrefix="acme.com")]})
    assert [pool.spec.name for pool in config.pools] == ["rebellions.ai/ATOM", "acme.com/ATOM"]


def test_a_name_that_only_an_unusable_pool_has_is_free() -> None:
    config = parse_value({"resourceList": [pool(selectors=[]), pool()]})
    assert [pool.spec.name for pool in config.pools] == ["rebellions.ai/ATOM"]
    assert [pool.name for pool in config.invalid] == ["resourceList[0]"]


ID = "never matches, expected four hexadecimal digits in lower case"
ADDRESS = "a whole address such as 0000:3b:00.0"
WARNINGS: list[tuple[dict[str, object], str]] = [
    ({"selector": {}}, "selector: unknown key, ignored (did you mean selectors?)"),
    ({"zzz": {}}, "zzz: unknown key, ignored"),
    ({"a b\n": {}}, '["a b\\n"]: unknown key, ignored'.removeprefix(".")),
    (
        {"health": {"suspectSecond": 1}},
        "health.suspectSecond: unknown key, ignored (did you mean suspectSeconds?)",
    ),
    (
        {"health": {"probation": {"linkState": True}}},
        "health.probation.linkState: unknown key, ignored",
    ),
    (
        {"health": {"probation": {"mostSeconds": 2}}},
        "health.probation.mostSeconds: 2 is less than firstSeconds or againSeconds, "
        "and counts for them",
    ),
    ({"vendors": []}, "vendors: a selector, ignored here (it belongs into selectors)"),
    (
        {"SelectorObjs": []},
        "SelectorObjs: internal key of the reference, ignored (did you mean selectors?)",
    ),
    (
        {"selectors": {"pfNames": ["p0"]}},
        "selectors.pfNames: a key of netDevice and auxNetDevice pools, ignored",
    ),
    (
        {"selectors": {"vdpaType": "vhost"}},
        "selectors.vdpaType: a key of netDevice pools, ignored",
    ),
    (
        {"selectors": [{"vendor": []}]},
        "selectors[0].vendor: unknown key, ignored (did you mean vendors?)",
    ),
    (
        {"selectors": {"vendors": ["1eff", "1EFF"]}},
        f'selectors.vendors[1]: "1EFF" {ID} (did you mean 1eff?)',
    ),
    (
        {"selectors": {"devices": ["0x1250"]}},
        f'selectors.devices[0]: "0x1250" {ID} (did you mean 1250?)',
    ),
    ({"selectors": {"devices": ["CA25!"]}}, f'selectors.devices[0]: "CA25!" {ID}'),
    ({"selectors": {"devices": [""]}}, f'selectors.devices[0]: "" {ID}'),
    (
        {"selectors": {"pciAddresses": ["3B:00.0"]}},
        f'selectors.pciAddresses[0]: "3B:00.0" never matches, expected {ADDRESS} '
        "(did you mean 0000:3b:00.0?)",
    ),
    (
        {"additionalInfo": {"3b:00.0": {}}},
        f'additionalInfo["3b:00.0"]: never matches, expected * or {ADDRESS}',
    ),
]


@pytest.mark.parametrize(("changes", "warning"), WARNINGS)
def test_what_hinders_nobody_is_a_warning(changes: dict[str, object], warning: str) -> None:
    config = with_good(pool(**changes))
    place = "resourceList[1]" if warning.startswith("[") else "resourceList[1]."
    assert config.warnings == (f"{place}{warning}",)
    assert strict(config) is config


# Of a netDevice pool; the first element of the selectors, if it is an object alone.
OF_NICS: list[tuple[object, str]] = [
    ({"isRdma": "true"}, "isRdma: expected boolean, got string"),
    ({"needVhostNet": 1}, "needVhostNet: expected boolean, got number"),
    ({"vdpaType": True}, "vdpaType: expected string, got boolean"),
    ({"vdpaType": "zzz"}, 'vdpaType: expected vhost or virtio, got "zzz"'),
    ({"vdpaType": "Vhost"}, 'vdpaType: expected vhost or virtio, got "Vhost"'),
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
    ({"pfNames": [""]}, f'pfNames[0]: {FUNCTIONS} "": it is empty'),
    ({"pfNames": ["#1"]}, f'pfNames[0]: {FUNCTIONS} "#1": nothing stands before #'),
    ({"pfNames": ["p0#0#1"]}, f'pfNames[0]: {FUNCTIONS} "p0#0#1": # stands in it twice'),
    (
        {"pfNames": ["p0", "p0#"]},
        f'pfNames[1]: {FUNCTIONS} "p0#": a number is missing beside a comma or behind #',
    ),
    (
        {"pfNames": ["p0#1,"]},
        f'pfNames[0]: {FUNCTIONS} "p0#1,": a number is missing beside a comma or behind #',
    ),
    ({"pfNames": ["p0#5-3"]}, f'pfNames[0]: {FUNCTIONS} "p0#5-3": 5-3 begins behind its end'),
    (
        {"pfNames": ["p0#0,x"]},
        f"pfNames[0]: {FUNCTIONS} \"p0#0,x\": 'x' is neither a number nor a range",
    ),
    (
        {"pfNames": ["p0#+2"]},
        f"pfNames[0]: {FUNCTIONS} \"p0#+2\": '+2' is neither a number nor a range",
    ),
    (
        {"pfNames": ["p0#-1"]},
        f"pfNames[0]: {FUNCTIONS} \"p0#-1\": '-1' is neither a number nor a range",
    ),
    (
        {"pfNames": ["p0#\u0663"]},
        f"pfNames[0]: {FUNCTIONS} \"p0#\u0663\": '\\u0663' is neither a number nor a range",
    ),
    (
        {"pfNames": ["p0#4294967296"]},
        f'pfNames[0]: {FUNCTIONS} "p0#4294967296": '
        "4294967296 is larger than any number of a function",
    ),
    (
        {"rootDevices": ["0000:3b:00.0#0-1-2"]},
        f"rootDevices[0]: {ROOTS} \"0000:3b:00.0#0-1-2\": '0-1-2' is neither a number nor a range",
    ),
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
OF_SUBFUNCTIONS: list[tuple[object, str]] = [
    ({}, 'auxTypes: missing, expected ["sf"]'),
    ({"auxTypes": None}, 'auxTypes: expected ["sf"], got null'),
    ({"auxTypes": []}, 'auxTypes: expected ["sf"], got an empty array'),
    ({"auxTypes": "sf"}, "auxTypes: expected array, got string"),
    ({"auxTypes": ["sf", "eth"]}, 'auxTypes[1]: expected sf, got "eth"'),
    ({"auxTypes": ["SF"]}, 'auxTypes[0]: expected sf, got "SF"'),
    ({"auxTypes": [None]}, "auxTypes[0]: expected string, got null"),
    (
        {"auxTypes": ["sf"], "pfNames": ["p0#1-"]},
        f"pfNames[0]: {FUNCTIONS} \"p0#1-\": '1-' is neither a number nor a range",
    ),
]


@pytest.mark.parametrize(("selectors", "complaint"), OF_SUBFUNCTIONS)
def test_a_wrong_value_of_a_selector_of_subfunctions(selectors: object, complaint: str) -> None:
    wrong = pool(deviceType="auxNetDevice", selectors=[{"auxTypes": ["sf"]}, selectors])
    config = with_good(wrong)
    (invalid,) = config.invalid
    lines = [str(each) for each in invalid.complaints]
    assert lines == [f"resourceList[1].selectors[1].{complaint}"]


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
                PfFunctions("ens1f0", (Range(0, 0), Range(2, 7), Range(9, 9))),
                PfFunctions("p1"),
            ),
            root_devices=(PfFunctions("0000:3B:00.0", (Range(1, 1),)),),
            link_types=("ether",),
            ddp_profiles=("GTPv1-C/U IPv4/IPv6 payload",),
            p_keys=("0x8001",),
            is_rdma=True,
            need_vhost_net=True,
        ),
    )


def test_every_key_is_one_of_some_type_and_has_a_place_in_a_selector_object() -> None:
    assert {key for kind in KINDS.values() for key in kind.selectors} == set(ATTRIBUTES)


def test_a_forgotten_type_is_asked_about() -> None:
    assert with_good(pool(deviceType=NOTHING)).warnings == (
        "resourceList[1].deviceType: missing, which means netDevice (did you mean accelerator?)",
    )


NEVER = "never matches, expected"
NIC_WARNINGS: list[tuple[dict[str, object], str]] = [
    (
        {"pfNames": ["0000:3b:00.0#1"]},
        f'pfNames[0]: "0000:3b:00.0#1" {NEVER} '
        "an interface's name (an address belongs into rootDevices)",
    ),
    (
        {"rootDevices": ["0000:3b:00.0", "3B:00.0#0-3"]},
        f'rootDevices[1]: "3B:00.0#0-3" {NEVER} a whole address such as 0000:3b:00.0 '
        "(did you mean 0000:3b:00.0#0-3?)",
    ),
    ({"rootDevices": ["p0"]}, f'rootDevices[0]: "p0" {NEVER} {ADDRESS}'),
    (
        {"linkTypes": ["Ether"]},
        f'linkTypes[0]: "Ether" {NEVER} a link type such as ether or infiniband '
        "(did you mean ether?)",
    ),
    (
        {"pKeys": ["8001"]},
        f'pKeys[0]: "8001" {NEVER} a partition key such as 0x8001 (did you mean 0x8001?)',
    ),
    ({"drivers": [""]}, f'drivers[0]: "" {NEVER} a driver\'s name'),
    ({"ddpProfiles": [""]}, f'ddpProfiles[0]: "" {NEVER} a profile\'s name'),
    (
        {"acpiIndexes": ["101 "]},
        f'acpiIndexes[0]: "101 " {NEVER} a decimal number (did you mean 101?)',
    ),
    ({"auxTypes": ["sf"]}, "auxTypes: a key of auxNetDevice pools, ignored"),
]


@pytest.mark.parametrize(("selectors", "warning"), NIC_WARNINGS)
def test_what_can_never_match_is_a_warning(selectors: dict[str, object], warning: str) -> None:
    config = with_good(pool(deviceType="netDevice", selectors=[selectors]))
    assert config.warnings == (f"resourceList[1].selectors[0].{warning}",)


def test_more_keys_for_a_subfunction_by_its_name_or_its_functions_address() -> None:
    infos = {"*": {}, "mlx5_core.sf.4": {"a": "b"}, "0000:3b:00.0": {}}
    changes = {"deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"]}}
    config = with_good(pool(**changes, additionalInfo=infos))
    assert config.pools[1].spec.additional_info == infos
    assert not config.warnings
    assert with_good(pool(**changes, additionalInfo={"sf.4": {}})).warnings == (
        'resourceList[1].additionalInfo["sf.4"]: never matches, expected *, '
        "a name such as mlx5_core.sf.4 or a whole address such as 0000:3b:00.0",
    )
    assert with_good(pool(additionalInfo={"mlx5_core.sf.4": {}})).warnings


def test_unknown_keys_and_warnings_are_bounded() -> None:
    config = with_good(pool(**{f"key{number}": 1 for number in range(1000)}))
    assert len(config.warnings) == 11
    assert config.warnings[-1] == "resourceList[1]: 990 more unknown keys, ignored"
    config = with_good(pool(selectors={"vendors": ["X"] * 1000}))
    assert len(config.warnings) == 51
    assert config.warnings[-1] == "and 950 more"


def test_what_the_document_warned_of_is_kept() -> None:
    config = parse(json.dumps({"resourceList": [GOOD]})[:-1].encode() + b",}", prefix="intel.com")
    assert config.warnings == ("line 1, column 146: trailing comma (accepted)",)


@pytest.mark.parametrize("prefix", ["", "Intel.com", "a_b", "kubernetes.io"])
def test_a_wrong_flag_is_named(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"^--resource-prefix: ") as caught:
        parse_value({"resourceList": [GOOD]}, prefix=prefix)
    assert len(caught.value.errors) == 1

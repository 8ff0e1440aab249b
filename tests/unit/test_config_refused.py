"""The very words in which a configuration, or a pool of it, is refused."""

import pytest

from rbln_supervisor.core.config.node_config import ConfigError, parse, require_valid
from tests.unit.configuring import NOTHING, parse_value, pool, with_good

WHOLE_FILE = {
    "": "the file is empty: expected an object with resourceList",
    "null": "the file: expected object, got null",
    "[]": "the file: expected object, got array",
    "12": "the file: expected object, got number",
    "true": "the file: expected object, got boolean",
    "some text": "the file: expected object, got string",
    "{}": "resourceList: missing, expected array",
    '{"resourceList": {}}': "resourceList: expected array, got object",
    '{"resourceList": [null]}': "resourceList[0]: expected object, got null",
    '{"resourceList": ["ATOM"]}': "resourceList[0]: expected object, got string",
    '{"resourceList": [}': "line 1, column 19: no JSON: Expecting value",
}


@pytest.mark.parametrize(("text", "message"), WHOLE_FILE.items())
def test_a_file_without_any_pool_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), prefix="intel.com")
    assert caught.value.errors == (message,)


LETTERS = "expected letters, digits, _ and -, with a letter or digit at both ends"
DNS = "expected a DNS name such as rebellions.ai (lower-case letters, digits, - and .)"
OBJECTS = "expected object or array of objects"

SECONDS = "expected seconds from 0 to 86400"
COMPLAINTS: list[tuple[dict[str, object], str]] = [
    ({"resourceName": NOTHING}, "resourceName: missing, expected string"),
    ({"resourceName": None}, "resourceName: missing, expected string"),
    ({"resourceName": 7}, "resourceName: expected string, got number"),
    ({"resourceName": ""}, "resourceName: missing, expected string"),
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
        "expected a prefix that is not Kubernetes' own (…kubernetes.io, requests.…)",
    ),
    (
        {"resourcePrefix": "requests.io"},
        'resourcePrefix: "requests.io": '
        "expected a prefix that is not Kubernetes' own (…kubernetes.io, requests.…)",
    ),
    (
        {"deviceType": "Accelerator"},
        'deviceType: expected accelerator, netDevice, auxNetDevice, got "Accelerator"',
    ),
    ({"deviceType": 0}, "deviceType: expected string, got number"),
    ({"excludeTopology": "true"}, "excludeTopology: expected boolean, got string"),
    ({"allowCrossNuma": 1}, "allowCrossNuma: expected boolean, got number"),
    ({"preferredAllocation": True}, "preferredAllocation: expected string, got boolean"),
    ({"preferredAllocation": ["packed"]}, "preferredAllocation: expected string, got array"),
    ({"preferredAllocation": "Packed"}, "preferredAllocation: expected topology, packed, spread, "
                                        'none, got "Packed"'),
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
    ({"additionalInfo": {"*": {"a": 1}}}, 'additionalInfo["*"].a: expected string, got number'),
    ({"health": []}, "health: expected object, got array"),
    ({"health": {"linkState": "on"}}, "health.linkState: expected boolean, got string"),
    ({"health": {"suspectSeconds": "0.03"}}, f"health.suspectSeconds: {SECONDS}, got string"),
    ({"health": {"suspectSeconds": True}}, f"health.suspectSeconds: {SECONDS}, got boolean"),
    ({"health": {"SUSPECTSECONDS": [1]}}, f"health.SUSPECTSECONDS: {SECONDS}, got array"),
    ({"health": {"unknownHoldSeconds": -1}}, f"health.unknownHoldSeconds: {SECONDS}, got -1"),
    ({"health": {"unknownHoldSeconds": 86400.5}}, f"health.unknownHoldSeconds: {SECONDS}, "
                                                  "got 86400.5"),
    ({"health": {"unknownHoldSeconds": 10**400}}, f"health.unknownHoldSeconds: {SECONDS}, "
                                                  "got inf"),
    ({"health": {"probation": 5}}, "health.probation: expected object, got number"),
    ({"health": {"probation": {"resetAfterSeconds": {}}}}, "health.probation.resetAfterSeconds: "
                                                     f"{SECONDS}, got object"),
    ({"export": "DRA"}, 'export: expected device-plugin, dra, got "DRA"'),
    ({"export": "dra", "deviceType": "netDevice"}, 'export: "dra" is for pools of deviceType '
                                                   "accelerator, this one is netDevice"),
    ({"export": "dra", "dra": []}, "dra: expected object, got array"),
    ({"export": "dra", "dra": {"driverName": "Npu"}}, 'dra.driverName: "Npu": expected a DNS name '
        "such as npu.rebellions.ai (lower-case letters, digits, - and .)"),
    ({"export": "dra", "dra": {"driverName": "a." * 31 + "bc"}}, f'dra.driverName: "{"a." * 31}bc":'
        " expected at most 63 characters, got 64"),
    ({"export": "dra", "resourceName": "a" * 50}, "dra.driverName: missing, and the default can't "
        f'be used: "{"a" * 50}.rebellions.ai": expected at most 63 characters, got 64'),
    ({"export": "dra", "dra": {"evictOn": ["smoke"]}}, 'dra.evictOn[0]: expected sysfs, '
        'config-space, npu-status, aer, node, link, files, device-info, pods, cdi, got "smoke"'),
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
        require_valid(config)
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
        ({"resourceName": "a.b"}, "resourceList[1]"),
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

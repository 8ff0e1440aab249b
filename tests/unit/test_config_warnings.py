"""What a configuration is warned of, and served with."""

import json

import pytest

from rbln_supervisor.core.config.node_config import parse, require_valid
from tests.unit.configuring import GOOD, pool, with_good

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
    ({"dra": {}}, 'dra: has no effect without "export": "dra"'),
    ({"export": "dra", "dra": {"x": 1}}, "dra.x: unknown key, ignored"),
    ({"vendors": []}, "vendors: unknown key, ignored"),
    ({"SelectorObjs": []}, "SelectorObjs: unknown key, ignored (did you mean selectors?)"),
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
        f'selectors.vendors[1]: "1EFF" {ID}',
    ),
    (
        {"selectors": {"devices": ["0x1250"]}},
        f'selectors.devices[0]: "0x1250" {ID}',
    ),
    ({"selectors": {"devices": ["CA25!"]}}, f'selectors.devices[0]: "CA25!" {ID}'),
    ({"selectors": {"devices": [""]}}, f'selectors.devices[0]: "" {ID}'),
    (
        {"selectors": {"pciAddresses": ["3B:00.0"]}},
        f'selectors.pciAddresses[0]: "3B:00.0" never matches, expected {ADDRESS}',
    ),
]


@pytest.mark.parametrize(("changes", "warning"), WARNINGS)
def test_what_hinders_nobody_is_a_warning(changes: dict[str, object], warning: str) -> None:
    config = with_good(pool(**changes))
    place = "resourceList[1]" if warning.startswith("[") else "resourceList[1]."
    assert config.warnings == (f"{place}{warning}",)
    assert require_valid(config) is config


def test_a_repeated_key_is_a_warning_with_its_path() -> None:
    pools = json.dumps([GOOD]).replace('"vendors"', '"vendors": [], "vendors"')
    text = f'{{"resourceList": null, "resourceList": {pools}}}'
    assert parse(text.encode(), prefix="intel.com").warnings == (
        "resourceList: repeated in this object (the last counts)",
        "resourceList[0].selectors[0].vendors: repeated in this object (the last counts)",
    )


NEVER = "never matches, expected"
NIC_WARNINGS: list[tuple[dict[str, object], str]] = [
    (
        {"pfNames": ["0000:3b:00.0#1"]},
        f'pfNames[0]: "0000:3b:00.0" {NEVER} an interface\'s name',
    ),
    (
        {"rootDevices": ["0000:3b:00.0", "3B:00.0#0-3"]},
        f'rootDevices[1]: "3B:00.0" {NEVER} {ADDRESS}',
    ),
    ({"rootDevices": ["p0"]}, f'rootDevices[0]: "p0" {NEVER} {ADDRESS}'),
    (
        {"linkTypes": ["Ether"]},
        f'linkTypes[0]: "Ether" {NEVER} a link type such as ether',
    ),
    (
        {"pKeys": ["8001"]},
        f'pKeys[0]: "8001" {NEVER} a partition key such as 0x8001',
    ),
    ({"drivers": [""]}, f'drivers[0]: "" {NEVER} a driver\'s name'),
    ({"ddpProfiles": [""]}, f'ddpProfiles[0]: "" {NEVER} a profile\'s name'),
    (
        {"acpiIndexes": ["101 "]},
        f'acpiIndexes[0]: "101 " {NEVER} a decimal number',
    ),
    ({"auxTypes": ["sf"]}, "auxTypes: a key of auxNetDevice pools, ignored"),
]


@pytest.mark.parametrize(("selectors", "warning"), NIC_WARNINGS)
def test_what_can_never_match_is_a_warning(selectors: dict[str, object], warning: str) -> None:
    config = with_good(pool(deviceType="netDevice", selectors=[selectors]))
    assert config.warnings == (f"resourceList[1].selectors[0].{warning}",)


def test_numbers_of_yaml_are_text_with_a_warning_where_text_is_expected() -> None:
    text = "{acpiIndexes: [101, '102'], devices: [0010], zzz: 5}"
    config = parse(
        f"resourceList: [{{resourceName: 12, selectors: {text}}}]".encode(), prefix="a.b"
    )
    (pool,) = config.pools
    assert pool.spec.resource == "12"
    assert (pool.selectors[0].acpi_indexes, pool.selectors[0].devices) == (
        ("101", "102"),
        ("0010",),
    )
    said = "a number or date is read as text (quote it)"
    assert config.warnings == (
        f"resourceList[0].resourceName: {said}",
        "resourceList[0].selectors.zzz: unknown key, ignored",
        f"resourceList[0].selectors.devices[0]: {said}",
        f"resourceList[0].selectors.acpiIndexes[0]: {said}",
    )


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

"""Whatever a file holds, it is a configuration or a ConfigError; and what JSON says is heard."""

import json
import math
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.document import read_document
from rbln_supervisor.core.config.node_config import ConfigError, NodeConfig, parse, require_valid

Json = Any

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)  # JSON has numbers, read as float
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from(["ATOM", "a-b", "a.b", "x" * 64, "", "A\n"]) | st.text(max_size=5)
PREFIXES = st.sampled_from(["rebellions.ai", "intel.com", "", "X", "kubernetes.io"])
IDS = st.lists(st.sampled_from(["1eff", "1EFF", "0x10", "", "0000:3b:00.0"]) | VALUES, max_size=3)
SELECTOR = st.fixed_dictionaries(
    {},
    optional={
        "vendors": IDS | VALUES,
        "devices": IDS,
        "DRIVERS": IDS,
        "pciAddresses": IDS,
        "acpiIndexes": IDS,
        "pfNames": VALUES,
        "isRdma": VALUES,
    },
)
POOL = st.fixed_dictionaries(
    {},
    optional={
        "resourceName": NAMES | VALUES,
        "RESOURCENAME": NAMES,
        "resourcePrefix": PREFIXES | VALUES,
        "deviceType": st.sampled_from(["accelerator", "accelerator", "netDevice", "x"]) | VALUES,
        "excludeTopology": st.booleans() | VALUES,
        "allowCrossNuma": st.booleans() | VALUES,
        "preferredAllocation": st.sampled_from(["topology", "packed", "spread", "none", ""])
        | VALUES,
        "selectors": SELECTOR | st.lists(SELECTOR, max_size=3) | VALUES,
        "additionalInfo": st.dictionaries(st.text(), st.dictionaries(st.text(), st.text()))
        | VALUES,
        "zzz": VALUES,
    },
)
FILES = st.fixed_dictionaries({"resourceList": st.lists(POOL | VALUES, max_size=5)})


def well_formed(raw: bytes) -> NodeConfig | None:
    """A configuration that keeps its promises, or None where it was refused as it should be."""
    try:
        config = parse(raw, prefix="intel.com")
    except ConfigError as error:
        refused = error
    else:
        return checked(config)
    assert 0 < len(refused.errors) <= 21
    assert all(len(line.splitlines()) == 1 for line in (*refused.errors, *refused.warnings))
    return None


def checked(config: NodeConfig) -> NodeConfig:
    names = [*(pool.spec.name for pool in config.pools), *(pool.name for pool in config.invalid)]
    assert len(set(names)) == len(names)
    assert config.pools or not config.invalid
    assert all(pool.complaints for pool in config.invalid)
    assert all(pool.selectors for pool in config.pools)
    lines = [str(complaint) for pool in config.invalid for complaint in pool.complaints]
    assert all(len(line.splitlines()) == 1 for line in (*names, *lines, *config.warnings))
    return config


@given(st.binary())
def test_bytes(raw: bytes) -> None:
    well_formed(raw)


@given(st.text())
def test_text(text: str) -> None:
    well_formed(text.encode(errors="replace"))


@given(st.text(alphabet='{}[]",:/*# \n\\u-?&!|1aN\t'))
def test_text_that_is_nearly_something(text: str) -> None:
    well_formed(text.encode())


@given(VALUES)
def test_any_json_value(value: Json) -> None:
    well_formed(json.dumps(value).encode())


@given(FILES)
def test_pools_of_anything(value: Json) -> None:
    config = well_formed(json.dumps(value).encode())
    if config and config.invalid:
        try:
            require_valid(config)
        except ConfigError:
            return
        raise AssertionError("strict let an invalid pool pass")


@given(st.data(), FILES)
def test_a_damaged_file(data: st.DataObject, value: Json) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.sampled_from([",", '"', "}", "]", "//", "/*", "\\", "\n", "", "#", "'"]))
    well_formed((text[:at] + damage + text[at + data.draw(st.integers(0, 2)) :]).encode())


def as_floats(text: str | bytes) -> Json:
    """The value of a text; no key needs an integer."""
    return json.loads(text, parse_int=float)


@given(VALUES, st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}]))
def test_strict_json_is_read_as_it_is(value: Json, style: dict[str, Any]) -> None:
    """In an array: a value alone is read as YAML."""
    text = json.dumps([value], **style)
    document = read_document(text.encode(errors="replace"))
    assert document.value == as_floats(text.encode(errors="replace"))


@given(VALUES)
def test_a_comma_and_comments_change_nothing(value: Json) -> None:
    text = json.dumps([value], indent=1)
    relaxed = text.removesuffix("\n]") + ' // it\'s, "a" ]\n , /* } */ ] # end'
    assert read_document(b"/* , */" + relaxed.encode()).value == as_floats(text)


CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])  # YAML has no pairs
BMP = st.text(CHARACTERS)
KEYS = st.text(CHARACTERS, max_size=150)  # YAML's have 1024 characters, each written as 6 at most


@given(st.recursive(BMP, lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=3)))
def test_yaml_says_what_json_says(value: Json) -> None:
    """JSON is YAML, as long as all of it is quoted: both readers see the same."""
    text = json.dumps({"a": value})
    assert read_document(b"---\n" + text.encode()).value == json.loads(text)


@given(st.data())
def test_case_never_matters(data: st.DataObject) -> None:
    def spelled(key: str) -> str:
        flips = data.draw(st.lists(st.booleans(), min_size=len(key), max_size=len(key)))
        return "".join(c.swapcase() if flip else c for c, flip in zip(key, flips, strict=True))

    def file(spell: Callable[[str], str]) -> bytes:
        selector = {spell("vendors"): ["1eff"], spell("pciAddresses"): ["0000:3b:00.0"]}
        pool = {
            spell("resourceName"): "ATOM",
            spell("deviceType"): "accelerator",
            spell("allowCrossNuma"): True,
            spell("preferredAllocation"): "spread",
            spell("additionalInfo"): {"*": {"Key": "v"}},
            spell("selectors"): [selector],
        }
        return json.dumps({spell("resourceList"): [pool]}).encode()

    config = parse(file(spelled), prefix="intel.com")
    assert config == parse(file(str), prefix="intel.com")
    assert not config.warnings


def test_infinity_is_a_float_that_json_can_write() -> None:
    assert read_document(b"[1e999]").value == [math.inf]

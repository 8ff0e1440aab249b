"""docs/configure.md against the code: each key, each flag, its real default, and no other."""

import argparse
import contextlib
import io
import json
from typing import Any, Final

import pytest
import yaml

from rbln_supervisor import cli
from rbln_supervisor.agent import main as agent
from rbln_supervisor.core.config import health, pool
from rbln_supervisor.core.config.node_config import ConfigError, NodeConfig, parse, require_valid
from rbln_supervisor.core.config.selectors import ATTRIBUTES
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.exporter import main as exporter
from tests.unit.pages import Row, blocks, rows, text

PAGE: Final = text("configure.md")
REQUIRED: Final = "required"
EVERYWHERE: Final = "all"

POOL: Final = rows(PAGE, "key")
SUPERVISOR, EXPORTER, AGENT = (
    rows(PAGE[PAGE.index(f"## Flags of {name}\n") :].partition("\n## ")[0], "flag")
    for name in ("rbln-supervisor", "rbln-exporter", "rbln-agent")
)


def section(heading: str) -> list[Row]:
    part = PAGE[PAGE.index(f"### {heading}\n") :].partition("\n##")[0]
    return rows(part, "key")


OF_POOL, OF_SELECTOR, OF_HEALTH = map(
    section, ("Keys of a pool", "Keys of a selector object", "Keys of health")
)
OF_DRA: Final = section("Keys of dra")
OF_PROBATION: Final = rows(PAGE, "key of `probation`")


def keys(table: list[Row]) -> list[str]:
    return [next(iter(row.first.strip("`").split("`"))) for row in table]


def test_every_key_is_there_and_no_other() -> None:
    assert sorted(keys(OF_POOL)) == sorted([*pool.KEYS, "selectors"])
    assert sorted(keys(OF_SELECTOR)) == sorted(ATTRIBUTES)
    assert sorted(keys(OF_DRA)) == sorted(pool.DRA_KEYS)
    assert sorted(keys(OF_HEALTH)) == sorted(health.KEYS)
    assert sorted(keys(OF_PROBATION)) == sorted(health.PROBATION_KEYS)


def types_of(row: Row) -> set[str]:
    said = row.cells["for"]
    return set(DEVICE_TYPES) if said == EVERYWHERE else set(said.split(", "))


def test_every_selector_says_whose_it_is() -> None:
    for row, key in zip(OF_SELECTOR, keys(OF_SELECTOR), strict=True):
        assert types_of(row) == {
            name for name, kind in DEVICE_TYPES.items() if key in kind.selectors
        }


def one_pool(device_type: str, **members: object) -> NodeConfig:
    """A configuration of one pool, all right and without a warning."""
    selectors: dict[str, object] = {"auxTypes": ["sf"]} if device_type == "auxNetDevice" else {}
    whole = {
        "resourceName": "P",
        "resourcePrefix": "rebellions.ai",
        "deviceType": device_type,
        "selectors": selectors,
        **members,
    }
    config = require_valid(
        parse(json.dumps({"resourceList": [whole]}).encode(), prefix="intel.com")
    )
    assert not config.warnings
    return config


def members(row: Row, column: str, key: str) -> dict[str, Any]:
    """A cell as a member of its object: an example has the key, a default is a value."""
    code = row.code(column)
    found: dict[str, Any] = json.loads(
        f"{{{code}}}" if column == "example" else f'{{"{key}": {code}}}'
    )
    assert [*found] == [key]
    return found


def in_place(table: str, device_type: str, found: dict[str, Any]) -> dict[str, Any]:
    match table:
        case "pool":
            return {"export": "dra", **found} if "dra" in found else found
        case "dra":
            return {"export": "dra", "dra": found}
        case "selector":
            base = {"auxTypes": ["sf"]} if device_type == "auxNetDevice" else {}
            return {"selectors": {**base, **found}}
        case "health":
            return {"health": found}
        case _:
            return {"health": {"probation": found}}


ENTRIES: Final = [
    (table, key, row)
    for table, part in (
        ("pool", OF_POOL),
        ("selector", OF_SELECTOR),
        ("dra", OF_DRA),
        ("health", OF_HEALTH),
        ("probation", OF_PROBATION),
    )
    for key, row in zip(keys(part), part, strict=True)
]


@pytest.mark.parametrize(("table", "key", "row"), ENTRIES, ids=lambda part: str(part)[:30])
def test_examples_load_and_defaults_are_the_defaults(table: str, key: str, row: Row) -> None:
    types = types_of(row) if table == "selector" else {"netDevice"}
    for device_type in {"accelerator"} if table == "dra" or key in {"export", "dra"} else types:
        found = members(row, "example", key)
        kind = found.get("deviceType", device_type)
        changed = one_pool(kind, **in_place(table, kind, found))
        assert changed.pools
        if row.cells["default"] == REQUIRED:
            continue
        default = members(row, "default", key)
        exported = {"export": "dra"} if "dra" in {table, key} else {}
        left_out = one_pool(device_type, **exported)
        if key == "resourcePrefix":  # that of the flag
            assert one_pool(device_type, **default).pools[0].spec.prefix == "intel.com"
            continue
        assert one_pool(device_type, **in_place(table, device_type, default)) == left_out
        assert changed != left_out, "an example that changes nothing shows nothing"


def test_what_is_required_is_missed() -> None:
    required = {(table, key) for table, key, row in ENTRIES if row.cells["default"] == REQUIRED}
    assert required == {
        ("pool", "resourceName"),
        ("pool", "selectors"),
        ("selector", "auxTypes"),
    }
    for table, key in required:
        whole: dict[str, object] = {"resourceName": "P", "selectors": {}}
        if table == "pool":
            del whole[key]
        else:
            whole["deviceType"] = "auxNetDevice"
        with pytest.raises(ConfigError, match=key):
            parse(json.dumps({"resourceList": [whole]}).encode(), prefix="intel.com")


FILES: Final = [body for language, body in blocks(PAGE) if language in {"json", "yaml"}]


@pytest.mark.parametrize("body", FILES)
def test_whole_files_load_without_a_warning(body: str) -> None:
    config = require_valid(parse(body.encode(), prefix="intel.com"))
    assert len(config.pools) == len(yaml.safe_load(body)["resourceList"])
    assert not config.warnings


def options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The flags that --help shows, but for itself and --version."""
    return {
        action.option_strings[-1]: action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest not in {"help", "version"}
    }


def exporter_values(*words: str) -> dict[str, object]:
    return vars(exporter._build_parser().parse_args(words))


def agent_values(*words: str) -> dict[str, object]:
    return vars(agent._build_parser().parse_args(words))


def supervisor_values(*words: str) -> dict[str, object]:
    found = cli.parse_arguments(words, in_container=False)
    return {name: getattr(found, name) for name in found.__struct_fields__}


PROGRAMS: Final = (
    (SUPERVISOR, cli._build_parser(), supervisor_values),
    (AGENT, agent._build_parser(), agent_values),
    (EXPORTER, exporter._build_parser(), exporter_values),
)


def test_every_flag_is_there_and_no_other() -> None:
    for table, parser, _ in PROGRAMS:
        assert sorted(row.code("flag") for row in table) == sorted(options(parser))


def test_flags_have_their_defaults_and_examples_that_are_understood() -> None:
    for table, parser, values in PROGRAMS:
        for row in table:
            flag, default, example = (row.code(name) for name in ("flag", "default", "example"))
            assert example.split("=")[0].split()[0] == flag
            if flag in {
                "--node-name",
                "--kubeconfig",
                "--node-condition",
            }:  # the default is in the environment
                assert (default, values(*example.split()) != values()) == ("", True)
                continue
            assert values(*example.split()) != values(), f"{example} changes nothing"
            if options(parser)[flag].nargs == 0:  # it has no value, and so no other default
                assert default == "false"
            else:
                assert values(f"{flag}={default}") == values(), f"the default of {flag}"


def test_a_wrong_default_is_found() -> None:
    assert supervisor_values("--gone-grace=301") != supervisor_values()
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit):
        exporter_values("--gone-grace=301")

"""The configuration's rules: what is served, and as what."""

import pytest

from rbln_supervisor.core.config.fields import Complaint
from rbln_supervisor.core.config.node_config import (
    NO_POOLS,
    ConfigError,
    InvalidPool,
    NodeConfig,
    parse,
    require_valid,
)
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_worker.contract.pool import PoolSpec
from tests.unit.configuring import GOOD, NOTHING, parse_value, pool, with_good


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
    assert require_valid(config) is config


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
    assert "expected topology, packed, spread, none, got " in complaint
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
        "resourceList[0].RESOURCENAME: repeated in another spelling (the last counts)",
        "resourceList[0].deviceTYPE: repeated in another spelling (the last counts)",
    )


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


@pytest.mark.parametrize("prefix", ["", "Intel.com", "a_b", "kubernetes.io"])
def test_a_wrong_flag_is_named(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"^--resource-prefix: ") as caught:
        parse_value({"resourceList": [GOOD]}, prefix=prefix)
    assert len(caught.value.errors) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceList": null}',
        '{"resourceList": []}',
        '{"resourcelist": [],}',
        "resourceList:",
        "resourceList: []\n",
        "resourceList: ~ # none here\n",
    ],
)
def test_no_pools_are_none(text: str) -> None:
    found = parse(text.encode(), prefix="intel.com")
    assert (found.pools, found.invalid) == ((), ())
    assert NO_POOLS in " ".join(found.warnings)

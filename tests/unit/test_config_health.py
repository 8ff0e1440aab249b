"""How a configuration says by what times devices are judged, in JSON and in YAML."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.node_config import ConfigError, NodeConfig, parse, require_valid
from rbln_worker.contract.health import HealthPolicy, Probation
from rbln_worker.contract.messages import Snapshot, encode_message, to_worker

YAML = """
resourceList:
  - resourceName: ATOM
    deviceType: accelerator
    selectors: {drivers: [rebellions]}
    health:
      linkState: false
      suspectSeconds: 0.25
      unknownHoldSeconds: 60
      probation: {firstSeconds: 1., repeatSeconds: 10, maxSeconds: 600, resetAfterSeconds: 0}
"""
EVERY_KEY = HealthPolicy(
    link_state=False,
    suspect_s=0.25,
    unknown_hold_s=60.0,
    probation=Probation(1.0, 10.0, 600.0, 0.0),
)


def of(health: object) -> NodeConfig:
    pool = {"resourceName": "A", "selectors": {"drivers": ["x"]}, "health": health}
    return require_valid(parse(json.dumps({"resourceList": [pool]}).encode(), prefix="intel.com"))


def yaml(health: str, more: str = "") -> NodeConfig:
    text = f"resourceList: [{{resourceName: A, selectors: {{}}, health: {health}{more}}}]"
    return require_valid(parse(text.encode(), prefix="intel.com"))


@pytest.mark.parametrize(
    "health", [None, {}, {"probation": None}, {"linkState": None, "suspectSeconds": None}]
)
def test_what_is_not_said_has_its_default(health: object) -> None:
    assert of(health).pools[0].spec.health == HealthPolicy()


def test_every_key_in_yaml() -> None:
    config = require_valid(parse(YAML.encode(), prefix="intel.com"))
    assert config.pools[0].spec.health == EVERY_KEY
    assert config.warnings == ()


def test_every_key_in_json() -> None:
    said = {
        "linkState": False,
        "suspectSeconds": 0.25,
        "unknownHoldSeconds": 60,
        "probation": {
            "firstSeconds": 1,
            "repeatSeconds": 10.0,
            "maxSeconds": 600,
            "resetAfterSeconds": 0,
        },
    }
    assert of(said).pools[0].spec.health == EVERY_KEY


def test_keys_match_whatever_their_case() -> None:
    assert of({"SuspectSeconds": 1}).pools[0].spec.health.suspect_s == 1.0


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (".nan", 'expected seconds from 0 to 86400, got ".nan"'),
        ("-.inf", 'expected seconds from 0 to 86400, got "-.inf"'),
        ("1:30", 'expected seconds from 0 to 86400, got "1:30"'),
        ("010", 'expected seconds from 0 to 86400, got "010"'),
        ("0x1f", 'expected seconds from 0 to 86400, got "0x1f"'),
        ("1_000", 'expected seconds from 0 to 86400, got "1_000"'),
        ("2026-11-24", 'expected seconds from 0 to 86400, got "2026-11-24"'),
        ("-0.5", "expected seconds from 0 to 86400, got -0.5"),
        ("1000000", "expected seconds from 0 to 86400, got 1e+06"),
        ("'5'", "expected seconds from 0 to 86400, got string"),
        ("5s", "expected seconds from 0 to 86400, got string"),
        ("yes", "expected seconds from 0 to 86400, got boolean"),
    ],
)
def test_numbers_that_yaml_has_and_nobody_means(value: str, got: str) -> None:
    with pytest.raises(ConfigError) as caught:
        yaml(f"{{suspectSeconds: {value}}}")
    assert caught.value.errors == (f"resourceList[0].health.suspectSeconds: {got}",)


def test_numbers_of_json_that_are_none() -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000):
        raw = (
            f'{{"resourceList": [{{"resourceName": "A", "health": {{"suspectSeconds": {number}}}, '
        )
        with pytest.raises(ConfigError):
            require_valid(parse(f'{raw}"selectors": {{}}}}]}}'.encode(), prefix="intel.com"))


def test_the_same_words_elsewhere_are_text() -> None:
    """Additional keys for containers may be called anything, and cross the socket to a worker."""
    config = yaml("{}", ", additionalInfo: {'*': {firstSeconds: 5}}")
    spec = config.pools[0].spec
    assert spec.additional_info == {"*": {"firstSeconds": "5"}}
    sent = to_worker(encode_message(Snapshot("s", 1, spec, ())))
    assert isinstance(sent, Snapshot)
    assert sent.pool == spec


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
TIMES = ("suspectSeconds", "unknownHoldSeconds")
PARTS = ("firstSeconds", "repeatSeconds", "maxSeconds", "resetAfterSeconds")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys((*TIMES, "linkState"), VALUES),
            "probation": st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, VALUES)) | VALUES,
        },
    )
    | VALUES
)
def test_whatever_it_says_a_policy_is_possible(health: object) -> None:
    try:
        policy = of(health).pools[0].spec.health
    except ConfigError:
        return  # the words are tested above
    times = (policy.suspect_s, policy.unknown_hold_s, *_times(policy.probation))
    assert all(0 <= time <= 86_400 for time in times)
    assert isinstance(health, Mapping | None)


def _times(probation: Probation) -> tuple[float, ...]:
    return probation.first_s, probation.repeat_s, probation.max_s, probation.reset_after_s

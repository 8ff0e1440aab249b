"""What the numbers of an NPU's status mean, by driver and configuration."""

import json

import pytest

from rbln_supervisor.core.config.node_config import ConfigError, parse, require_valid
from rbln_worker.contract.health import NpuStatuses
from rbln_worker.core.allocation.host_facts import HostFacts, Text, Unread
from rbln_worker.core.health import npu
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Unknown

SHIFTED = ("READY", "BUSY", "PROBING", "INIT", "FAULT", "FINISH")
AGAIN = ("READY", "BUSY", "FAULT")
TOLD = (NpuStatuses((3, 6), SHIFTED), NpuStatuses((4, 2), AGAIN))
STATUS = Text("/sys/class/rebellions/rbln0/status")
VERSION = Text("/sys/class/rebellions/rbln0/kernel_version")


@pytest.mark.parametrize(
    ("version", "number", "word"),
    [
        ("3.5.1", 2, "INIT"),
        ("3.5.1", 3, "FAULT"),
        ("3.5.1", 4, "FINISH"),
        ("3.5.1", 5, None),
        ("3.6.0", 2, "PROBING"),
        ("3.6", 3, "INIT"),
        ("v3.6.0-rc1", 4, "FAULT"),
        ("3.10.0", 5, "FINISH"),
        ("4.1.9", 6, None),
        ("4.2.0", 2, "FAULT"),
        ("4.2.0", 3, None),
        ("five", 2, None),
        ("", 3, None),
        (Unread("gone"), 4, None),
    ],
)
def test_a_number_is_read_by_the_drivers_version(
    version: str | Unread, number: int, word: str | None
) -> None:
    seen = npu.status_evidence("rbln0", HostFacts({STATUS: f"{number}\n", VERSION: version}), TOLD)
    if word is None:
        assert isinstance(seen, Unknown)
        assert f"nobody knows the status {number}" in seen.reason
    else:
        assert isinstance(seen, Bad if word == "FAULT" else Doubt)
        assert seen.reason == f"its status is {word} ({number})"


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_two_are_the_same_in_all(number: int) -> None:
    assert npu.status_evidence("rbln0", HostFacts({STATUS: str(number)}), TOLD) == GOOD


def test_without_a_table_a_newer_driver_is_unknown_and_said() -> None:
    seen = npu.status_evidence("rbln0", HostFacts({STATUS: "3", VERSION: "3.6.0"}))
    assert isinstance(seen, Unknown)
    assert seen.reason == "nobody knows the status 3 of its driver (3.6.0): npuStatus can tell it"


def configured(value: object) -> bytes:
    pool = {"resourceName": "A", "deviceType": "accelerator", "selectors": {"vendors": ["1eff"]}}
    return json.dumps({"resourceList": [{**pool, "health": {"npuStatus": value}}]}).encode()


def test_a_table_is_read_by_version() -> None:
    read = require_valid(parse(configured({"4.2": AGAIN, "3.6": SHIFTED}), prefix="a.b"))
    assert read.pools[0].spec.health.npu_statuses == TOLD
    nothings: tuple[object, ...] = (None, {})
    for nothing in nothings:
        (pool,) = require_valid(parse(configured(nothing), prefix="a.b")).pools
        assert pool.spec.health.npu_statuses == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "npuStatus: expected object, got array"),
        ({"4": SHIFTED}, "npuStatus.4: expected a driver version such as 3.6 as the key"),
        ({"4.0.1": SHIFTED}, "expected a driver version"),
        ({"٤.0": SHIFTED}, "expected a driver version"),
        ({"4.0": "READY"}, 'npuStatus["4.0"]: expected array, got string'),
        ({"4.0": []}, "expected READY, BUSY, then FAULT, FINISH, INIT, PROBING"),
        ({"4.0": ["BUSY", "READY"]}, "expected READY, BUSY, then"),
        ({"4.0": [*AGAIN, "BROKEN"]}, "expected READY, BUSY, then"),
        ({"4.0": [*AGAIN, "FAULT"]}, "each once at most"),
        ({"4.0": [*AGAIN, 3]}, "expected string, got number"),
    ],
)
def test_a_wrong_table_is_refused(value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_valid(parse(configured(value), prefix="a.b"))
    assert said in "\n".join(caught.value.errors)

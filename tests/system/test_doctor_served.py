"""Doctor beside a broken file compares the node with what is served."""

import json
from collections.abc import Callable

import pytest

from tests.sim.stack import Stack
from tests.system.scene import ATOM_POOL, TWO_POOLS, VM_POOL, config, served

pytestmark = pytest.mark.system

BROKEN = ('{"resourceList": [', '{"resourceList": 3}', "\0", '{"resourceList": [{"selectors": 1}]}')


def problems(stack: Stack) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for one in json.loads(stack.ctl("doctor", "--json").stdout)["problems"]:
        found.setdefault(one["code"], []).append(one)
    return found


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("end", ["lives", "killed"])
def test_beside_a_broken_file(text: str, end: str) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.write_config(text)
        if end == "killed":  # its workers serve on
            stack.kill()
        found = problems(stack)
        assert not {
            "device-not-selected",
            "driver-missing",
            "pool-empty",
        } & set(found)
        (said,) = found["config-invalid"]
        assert str(stack.config_file) in str(said["subject"])
        if end == "lives":
            assert "keeps the last one" in str(said["text"])
        else:
            stack.write_config(TWO_POOLS)
            stack.start()
            served(stack)


def one_pool_wrong(stack: Stack) -> None:
    wrong = {**VM_POOL, "selectors": {"vendors": 1}}
    stack.write_config(config(ATOM_POOL, wrong))


def gone(stack: Stack) -> None:
    stack.config_file.unlink()


@pytest.mark.parametrize("change", [one_pool_wrong, gone])
def test_a_file_that_a_reload_refuses(change: Callable[[Stack], None]) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        change(stack)
        assert "device-not-selected" not in problems(stack)


def test_after_a_reload_it_is_the_newer_one() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.write_config(config(VM_POOL))
        assert stack.ctl("reload").returncode == 0
        stack.write_config(BROKEN[0])
        (unclaimed,) = problems(stack)["device-not-selected"]
        assert "4 devices bound to rebellions" in str(unclaimed["text"])

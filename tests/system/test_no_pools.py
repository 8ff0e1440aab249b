"""A file that asks for no pool is served: as nothing, until it changes."""

import pytest

from rbln_supervisor.core.config.node_config import NO_POOLS
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOM_POOL, TWO_POOLS, VM, allocatable, config, eventually

pytestmark = pytest.mark.system

EMPTY = ('{"resourceList": null}', '{"resourceList": []}', "resourceList:\n")


def said(stack: Stack) -> int:
    return stack.log_file.read_text().count(NO_POOLS)


@pytest.mark.parametrize("text", EMPTY)
def test_it_is_alive_and_ready_and_waits_for_the_file(text: str) -> None:
    with Stack(text, watch_config=True) as stack:
        stack.wait_status(lambda status: status.supervisor.ready, what="ready")
        assert stack.status().pools == {}
        for question in ("alive", "ready"):
            assert stack.ctl("probe", question).returncode == 0
        assert stack.ctl("validate", str(stack.config_file)).returncode == 0
        assert stack.ctl("doctor").returncode == 0
        assert said(stack) == 1
        stack.write_config(config(ATOM_POOL))
        allocatable(stack, ATOM, 4)


def test_a_file_that_asks_for_none_any_more_ends_all_pools() -> None:
    with Stack(TWO_POOLS, watch_config=True) as stack:
        allocatable(stack, ATOM, 4)
        stack.write_config(EMPTY[0])
        stack.wait_status(
            lambda status: not status.pools and status.supervisor.ready, what="no pools"
        )
        allocatable(stack, ATOM, 0)
        allocatable(stack, VM, 0)
        eventually(lambda: said(stack) == 1, what="it is said once")
        stack.write_config(TWO_POOLS)
        allocatable(stack, ATOM, 4)

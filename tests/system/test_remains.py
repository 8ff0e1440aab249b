"""A pool that is configured no more leaves nothing behind."""

from pathlib import Path

import pytest

from tests.sim.stack import Stack
from tests.system.scene import ATOM_POOL, TWO_POOLS, VM, config, eventually, served, sockets

pytestmark = pytest.mark.system


def names(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "pools").iterdir()}


def test_a_removed_pools_files_go_with_it() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        before = names(stack.run_dir)
        assert any(name.startswith("rebellions.ai_VM") for name in before)
        stack.write_config(config(ATOM_POOL))
        assert stack.ctl("reload").returncode == 0
        left = {name for name in before if not name.startswith("rebellions.ai_VM")}
        eventually(lambda: names(stack.run_dir) == left, what="only files of the pool that is left")
        eventually(lambda: len(sockets(stack)) == 1, what="one socket")


def test_what_a_pool_left_that_went_while_there_was_no_supervisor_goes_with_the_next() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.write_config(config(ATOM_POOL))
        stack.start()
        stack.wait_status(
            lambda status: VM not in status.pools, what="a supervisor without the pool"
        )
        eventually(
            lambda: not any(name.startswith("rebellions.ai_VM") for name in names(stack.run_dir)),
            what="nothing of the pool that went",
        )
        eventually(lambda: len(sockets(stack)) == 1, what="one socket")

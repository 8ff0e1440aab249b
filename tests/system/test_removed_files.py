"""Somebody cleans up too much: sockets of the run directory are removed, or all that lies there."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rbln_supervisor.ctl.client import UnreachableError
from tests.sim import atomic
from tests.sim.stack import Stack
from tests.system.scene import ATOM, TWO_POOLS, VM, eventually, pool_status, served, untouched

pytestmark = pytest.mark.system


def sockets_of(run_dir: Path) -> None:
    for name in ("control.sock", "workers.sock"):
        (run_dir / name).unlink()


@pytest.mark.parametrize("remove", [sockets_of, atomic.remove])
def test_the_supervisor_makes_its_sockets_anew(remove: Callable[[Path], None]) -> None:
    with Stack(TWO_POOLS) as stack:
        before = served(stack)
        pid = before.pools[ATOM].worker.pid
        assert pid is not None

        def reachable() -> bool:
            try:
                return stack.status().supervisor.pid == before.supervisor.pid
            except UnreachableError:
                return False

        with untouched(stack, VM):
            remove(stack.run_dir)
            eventually(reachable, what="the supervisor can be asked again")
            os.kill(pid, signal.SIGKILL)
            pool_status(
                stack,
                ATOM,
                lambda seen: seen.state == "serving" and seen.worker.pid != pid,
                what="a worker that is born after that is heard",
            )
        assert stack.log.count("a removed socket is created again") == 2

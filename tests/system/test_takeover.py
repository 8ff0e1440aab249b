"""Between two supervisors: workers serve on, and the next one takes over, on the node or beside."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbln_supervisor.core.commands import Node, Status
from rbln_supervisor.ctl.client import UnreachableError, ask
from tests.sim import processes
from tests.sim.kubelet import SimKubelet
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    config,
    eventually,
    lowest_allocatable,
    run_supervisor,
    served,
    sight,
    sockets,
    streams,
    supervisor,
    untouched,
)

pytestmark = pytest.mark.system

ENDS_WITHIN_S = 5.0
"""Generous: 2 s are promised."""


# The supervisor dies


def test_workers_serve_on_without_a_supervisor() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = set(stack.workers().values())
        stack.kill()
        stack.node.remove_dev_node("rbln0")
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.node.add_dev_node("rbln0")
        allocatable(stack, ATOM, len(ATOMS))
        for name, ids in ((ATOM, ATOMS), (VM, VMS)):
            assert len(stack.kubelet.allocate(name, [ids]).container_responses) == 1
            assert stack.kubelet.preferred(name, ids, [], 1) is not None
        assert not stack.kubelet.endings
        assert len(stack.kubelet.registrations) == 2
        assert set(stack.processes()) == workers


def test_workers_find_a_new_kubelet_without_a_supervisor() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.kubelet.restart()
        allocatable(stack, ATOM, len(ATOMS))
        allocatable(stack, VM, len(VMS))


def test_the_next_supervisor_takes_over() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.start()
        served(stack)
        eventually(
            lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
            what="one worker a pool, and nobody else",
        )
        for name, ids in ((ATOM, ATOMS), (VM, VMS)):
            allocatable(stack, name, len(ids))
            assert len(streams(stack, name)) == 1
        assert len(sockets(stack)) == 2


def test_the_next_supervisor_takes_over_from_a_worker_that_hangs() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        hangs = stack.workers()[ATOM]
        stack.kill()
        os.kill(hangs, signal.SIGSTOP)
        stack.start()
        stack.wait_status(
            lambda s: all(p.worker.pid not in {None, hangs} for p in s.pools.values()),
            20.0,
            what="a worker for each pool, and not the one that hangs",
        )
        served(stack)
        assert hangs not in stack.processes()


def test_the_next_supervisor_ends_the_worker_of_a_pool_that_left_the_file() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.write_config(config(ATOM_POOL))
        stack.start()
        served(stack, ATOM)
        eventually(
            lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
            what="the other worker's end",
        )
        assert stack.status().pools.keys() == {ATOM}
        assert len(sockets(stack)) == 1
        assert not streams(stack, VM)


def test_a_supervisor_that_dies_again_and_again() -> None:
    with Stack(TWO_POOLS) as stack:
        for _ in range(4):
            served(stack)
            stack.kill()
            stack.start()
        served(stack)
        eventually(
            lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
            what="one worker a pool, and nobody else",
        )


# Two supervisors


def test_a_second_supervisor_of_a_run_directory_is_refused() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            done = run_supervisor(
                *("--config-file", stack.config_file),
                *("--host-root", stack.root),
                *("--run-dir", stack.run_dir),
            )
            assert done.returncode == 1
            assert done.stderr == (
                f"rbln-supervisor: another rbln-supervisor (pid {stack.pid}) serves from "
                f"{stack.run_dir}: stop it, or give this one a --run-dir of its own\n"
            )


@contextmanager
def another(stack: Stack, run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A second supervisor on the same node, as a rolling update starts one."""
    with stack.log_file.open("ab") as log:
        process = subprocess.Popen(
            supervisor(
                *("--config-file", stack.config_file),
                *("--host-root", stack.root),
                *("--run-dir", run_dir),
                *stack.arguments,
            ),
            cwd=REPOSITORY,
            env={**os.environ, processes.MARK: str(stack.run_dir)},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
def test_a_rolling_update_never_has_nothing_to_give_out(registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
    ) as stack:
        served(stack)
        old = {name: sight(stack, name).endpoint for name in (ATOM, VM)}
        run_dir = stack.run_dir.with_name("r2")
        with another(stack, run_dir):
            eventually(
                lambda: all(len(streams(stack, name)) == 2 for name in old),
                what="streams to the old and the new",
            )
            eventually(lambda: _all_serving(run_dir), what="the new one serves")
            assert stack.stop(ENDS_WITHIN_S).code == 0
            eventually(
                lambda: all(len(streams(stack, name)) == 1 for name in old),
                what="the end of the old streams",
            )
            for name, ids in ((ATOM, ATOMS), (VM, VMS)):
                assert lowest_allocatable(stack, name) == len(ids)
                assert stack.kubelet.resource(name).allocatable == len(ids)
                assert stack.kubelet.resource(name).endpoint not in {None, old[name]}
                assert stack.kubelet.allocate(name, [ids]).container_responses


def _all_serving(run_dir: Path) -> bool:
    try:
        reply = ask(run_dir, Status())
    except UnreachableError:
        return False
    assert isinstance(reply, Node)
    return all(seen.state == "serving" for seen in reply.status.pools.values())

"""Without a supervisor, and with two of them (who goes on with living workers: test_adoption)."""

import os
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
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    eventually,
    lowest_allocatable,
    run_supervisor,
    served,
    sight,
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

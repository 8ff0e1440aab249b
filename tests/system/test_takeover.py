"""Without a supervisor, and with two of them (who goes on with living workers: test_adoption)."""

import pytest

from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    run_supervisor,
    served,
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

"""What happens to one pool is seen by no other (the table of failures, row by row)."""

import os
import signal

import pytest

from tests.sim.kubelet import SimKubelet
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    config,
    eventually,
    pool,
    pool_status,
    served,
    sight,
    sockets,
    streams,
    untouched,
)

pytestmark = pytest.mark.system

HANGS_FOR_S = 20.0
"""Generous: a worker is killed 5 s after its last beat."""


def reborn(stack: Stack, name: str, restarts: int, deadline_s: float = 10.0) -> None:
    stack.wait_status(
        lambda status: (
            status.pools[name].worker.restarts == restarts and status.pools[name].state == "serving"
        ),
        deadline_s,
        what=f"{name} serves again, restarts={restarts}",
    )


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGKILL, "killed by SIGKILL"),
        (signal.SIGSEGV, "killed by SIGSEGV"),
        (signal.SIGTERM, "exit code 0"),
    ],
)
def test_a_worker_that_dies_is_born_again(number: signal.Signals, how: str) -> None:
    with Stack(TWO_POOLS) as stack:
        before = served(stack).pools[ATOM]
        assert before.worker.pid is not None
        with untouched(stack, VM):
            os.kill(before.worker.pid, number)
            reborn(stack, ATOM, 1)
            allocatable(stack, ATOM, len(ATOMS))
            after = stack.status().pools[ATOM]
        assert after.worker.pid != before.worker.pid
        assert after.endpoint != before.endpoint
        assert after.worker.last_exit is not None
        assert after.worker.last_exit.startswith(how)
        assert any("the kubelet lists the pool" in line for line in after.worker.last_log)
        assert {after.endpoint, stack.status().pools[VM].endpoint} == sockets(stack)
        assert streams(stack, ATOM) == (after.endpoint,)


def test_a_fault_leaves_its_trace_in_the_status() -> None:
    with Stack(config(ATOM_POOL)) as stack:
        pid = served(stack, ATOM).pools[ATOM].worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        reborn(stack, ATOM, 1)
        lines = stack.status().pools[ATOM].worker.last_log
        assert any("Fatal Python error: Segmentation fault" in line for line in lines)


def test_all_workers_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        before = stack.workers()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        for name in before:
            reborn(stack, name, 1)
        served(stack)
        assert stack.workers().keys() == before.keys()
        assert not set(stack.workers().values()) & set(before.values())


def test_a_worker_that_hangs_is_killed_and_born_again() -> None:
    with Stack(TWO_POOLS) as stack:
        pid = served(stack).pools[ATOM].worker.pid
        assert pid is not None
        with untouched(stack, VM):
            os.kill(pid, signal.SIGSTOP)
            reborn(stack, ATOM, 1, HANGS_FOR_S)
            allocatable(stack, ATOM, len(ATOMS))
        last_exit = stack.status().pools[ATOM].worker.last_exit
        assert last_exit is not None
        assert last_exit.startswith("killed by SIGKILL")


def test_a_worker_that_dies_again_and_again_waits_longer_and_longer() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            for deaths in (1, 2, 3):
                pid = stack.workers()[ATOM]
                os.kill(pid, signal.SIGKILL)
                if deaths > 1:
                    waiting = pool_status(
                        stack, ATOM, lambda seen: seen.state == "backoff", what="a pool in back-off"
                    )
                    assert waiting.worker.backoff_s is not None
                    assert waiting.worker.pid is None
                    assert "killed by SIGKILL" in waiting.reason
                    assert not waiting.registered
                    assert {device.health for device in waiting.devices.values()} == {"Unhealthy"}
                reborn(stack, ATOM, deaths)
        assert stack.status().pools[ATOM].worker.backoff_s is None


@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
def test_a_kubelet_that_restarts_finds_every_pool_again(registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=lambda folder: SimKubelet(folder, plugin_watcher=registration == "plugin-watcher"),
    ) as stack:
        before = {name: seen.endpoint for name, seen in served(stack).pools.items()}
        workers = stack.workers()
        stack.kubelet.restart()
        after = {name: seen.endpoint for name, seen in served(stack).pools.items()}
        assert stack.workers() == workers
        if registration == "kubelet-sock":
            # Both the watcher's and its own folder's sockets are fresh; a kubelet that is new
            # removed the old ones itself.
            assert not set(before.values()) & set(after.values())
        for name, endpoint in after.items():
            assert endpoint is not None
            assert stack.kubelet.resource(name).endpoint == endpoint
        eventually(lambda: sockets(stack) == set(after.values()), what="one socket a pool")


@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
def test_a_kubelet_that_restarts_again_and_again(registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
    ) as stack:
        served(stack)
        workers = stack.workers()
        for _ in range(6):
            stack.kubelet.restart()
        served(stack)
        assert stack.workers() == workers
        eventually(
            lambda: sockets(stack) == {p.endpoint for p in stack.status().pools.values()},
            what="one socket a pool",
        )


def test_a_pool_that_is_invalid_at_the_start_leaves_the_others_to_serve() -> None:
    broken = {**pool("BROKEN"), "selectors": "all of them"}
    with Stack(config(ATOM_POOL, broken)) as stack:
        seen = served(stack, ATOM).pools["rebellions.ai/BROKEN"]
        assert seen.state == "invalid"
        assert "resourceList[1].selectors: expected object or array of objects" in seen.reason
        assert seen.worker.pid is None
        assert stack.workers().keys() == {ATOM}
        assert stack.log.count("pool is invalid") == 1


def test_a_reload_with_one_bad_pool_changes_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            stack.write_config(
                config(pool("ATOM", drivers=["rebellions"], excludeTopology="perhaps"))
            )
            done = stack.ctl("reload")
            assert done.returncode == 1
            assert done.stderr.startswith("rbln-ctl: resourceList[0].excludeTopology: expected")
            assert len(done.stderr.splitlines()) == 1
            assert done.stdout == ""
            assert stack.ctl("rescan").returncode == 0
        (problem,) = stack.status().supervisor.problems
        assert problem.text.startswith("reload refused: resourceList[0].excludeTopology")


def test_hardware_that_comes_and_goes_is_the_business_of_its_pool() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            device = stack.node.devices[ATOMS[0]]
            stack.node.remove(ATOMS[0])
            assert stack.ctl("rescan").returncode == 0
            allocatable(stack, ATOM, len(ATOMS) - 1)
            stack.node.add(device)
            assert stack.ctl("rescan").returncode == 0
            allocatable(stack, ATOM, len(ATOMS))
        pid, restarts, _, records = sight(stack, ATOM)
        assert (pid, restarts) == (stack.workers()[ATOM], 0)
        # registered, opened, all, one less, all again
        assert len(records) == 5

"""A reload may start a pool whose worker can't start: the others are served, and it is retried."""

import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from rbln_supervisor.core.control.protocol import ErrorReply, Reload, ReloadReply
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.ctl.client import send_request
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    allocatable,
    config,
    eventually,
    pool,
    pool_status,
    served,
    untouched,
)

pytestmark = pytest.mark.system

NEW = "rebellions.ai/NEW"
NEW_POOL = pool("NEW", pciAddresses=[ATOMS[0]])
WITH_NEW = config(NEW_POOL, ATOM_POOL, VM_POOL)


def lock_path(stack: Stack) -> Path:
    return stack.run_dir / "pools" / "rebellions.ai_NEW.lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock without a pid in it, as a process of another PID namespace would."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_is_folder(path: Path) -> Iterator[None]:
    """Let every fork fail."""
    path.mkdir()
    yield
    path.rmdir()


@contextmanager
def log_is_folder(path: Path) -> Iterator[None]:
    """Let every worker end at once: it can't open the file of its last log lines."""
    folder = path.with_suffix(".log")
    folder.mkdir()
    yield
    folder.rmdir()


def reload(stack: Stack) -> None:
    reply = send_request(stack.run_dir, Reload())
    assert isinstance(reply, ReloadReply), reply


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        (locked, "is locked by a process that can't be seen from here"),
        (lock_is_folder, "could not be started: [Errno 21] Is a directory"),
        (log_is_folder, "exit code "),
    ],
)
def test_a_new_pool_that_can_not_start_is_in_back_off_until_it_can(
    obstacle: Callable[[Path], AbstractContextManager[None]], reason: str
) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            with obstacle(lock_path(stack)):
                stack.write_config(WITH_NEW)
                reload(stack)
                failing = pool_status(
                    stack, NEW, lambda now: now.state == "backoff", what="NEW in back-off"
                )
                assert reason in (failing.reason or "")
                assert list(failing.devices) == [ATOMS[0]]
                allocatable(stack, ATOM, len(ATOMS) - 1)
                counters = stack.status().supervisor.counters
                assert counters[CounterName.RELOADS] == 1
                assert stack.status().supervisor.problems == ()
            allocatable(stack, NEW, 1)


def test_a_further_reload_takes_a_pool_away_that_can_not_start() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM), locked(lock_path(stack)):
            stack.write_config(WITH_NEW)
            reload(stack)
            pool_status(stack, NEW, lambda now: now.state == "backoff", what="NEW in back-off")
            stack.write_config(TWO_POOLS)
            reload(stack)
            allocatable(stack, ATOM, len(ATOMS))
            assert stack.status().pools.keys() == {ATOM, VM}


def test_a_reload_does_not_wait_for_a_worker_that_says_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        log = lock_path(stack).with_suffix(".log")
        os.mkfifo(log)  # to open it is to wait for a reader
        stack.write_config(WITH_NEW)
        reload(stack)
        pool_status(stack, NEW, lambda now: now.worker.pid, what="a worker that is starting")
        log.unlink()
        allocatable(stack, ATOM, len(ATOMS) - 1)
        assert stack.stop().code == 0


def test_a_reload_needs_no_kubelet() -> None:
    with Stack(TWO_POOLS, late_kubelet=True) as stack:
        stack.wait_status(lambda s: len(s.pools[ATOM].devices) == len(ATOMS), what="devices")
        stack.write_config(WITH_NEW)
        reload(stack)
        stack.kubelet.start()
        served(stack, NEW, ATOM, VM)


def test_a_broken_file_written_during_a_reload_stays_a_problem() -> None:
    with Stack(TWO_POOLS) as stack, ThreadPoolExecutor(1) as threads:
        served(stack)
        stack.kubelet.pods.hang()
        asked = stack.kubelet.pods.asked
        stack.write_config(WITH_NEW)
        first = threads.submit(send_request, stack.run_dir, Reload())
        eventually(lambda: stack.kubelet.pods.asked > asked, what="a discovery that waits")
        stack.write_config("{")
        assert isinstance(send_request(stack.run_dir, Reload()), ErrorReply)
        stack.kubelet.pods.resume()
        assert isinstance(first.result(), ReloadReply)
        (problem,) = stack.status().supervisor.problems
        assert problem.text.startswith("reload refused: line 1")

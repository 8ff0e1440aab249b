"""A reload whose new pools can't start is taken back."""

import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbln_supervisor.core.control.protocol import (
    ErrorReply,
    Reload,
    ReloadReply,
    Rescan,
    RescanReply,
)
from rbln_supervisor.ctl.client import send_request
from tests.sim import processes
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    VMS,
    allocatable,
    config,
    eventually,
    pool,
    served,
    sockets,
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
    """Its pool has an owner that nobody can find (we don't write our pid into it)."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def rolled_back(stack: Stack, why: str) -> str:
    """Reload; it has to be taken back for this reason."""
    reply = send_request(stack.run_dir, Reload())
    assert isinstance(reply, ErrorReply), reply
    (error,) = reply.errors
    assert error.startswith(f"rolled back: {NEW} could not start: "), error
    assert why in error
    status = stack.status()
    assert status.supervisor.problems == (f"reload {error}",)
    assert status.pools.keys() == {ATOM, VM}
    return error


def as_before(stack: Stack) -> None:
    """All that there was before is there, and nothing else."""
    allocatable(stack, ATOM, len(ATOMS))
    served(stack)
    eventually(
        lambda: sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()]),
        what="no other process",
    )
    assert sockets(stack) == {pool.endpoint for pool in stack.status().pools.values()}


def test_a_pool_whose_lock_another_process_has() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        with untouched(stack, VM), locked(lock_path(stack)):
            stack.write_config(WITH_NEW)
            rolled_back(stack, "is locked by a process that can't be seen from here")
            done = stack.ctl("reload", "--force")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"rbln-ctl: rolled back: {NEW} could not start: ")
            as_before(stack)
            assert stack.workers() == workers
            counters = stack.status().supervisor.counters
            assert counters["reloads rolled back"] == 2
            assert "reloads" not in counters
        with untouched(stack, VM):
            assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
            allocatable(stack, NEW, 1)
            assert stack.status().supervisor.problems == ()


def test_a_pool_whose_worker_dies_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        lock_path(stack).with_suffix(".log").mkdir()  # where the worker's last lines should go
        with untouched(stack, VM):
            stack.write_config(WITH_NEW)
            rolled_back(stack, "exit code ")
            as_before(stack)


def test_a_pool_whose_worker_can_not_be_forked() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        lock_path(stack).mkdir()
        with untouched(stack, VM):
            stack.write_config(WITH_NEW)
            rolled_back(stack, "could not be started: [Errno 21] Is a directory")
            as_before(stack)


def test_pools_that_went_come_back_with_their_devices() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM), locked(lock_path(stack)):
            stack.write_config(config(pool("NEW", pciAddresses=list(ATOMS)), VM_POOL))
            rolled_back(stack, "is locked")
            as_before(stack)


def test_a_pool_that_changed_is_as_it_was() -> None:
    changed = {**pool("ATOM", pciAddresses=list(ATOMS[1:])), "excludeTopology": True}
    with Stack(TWO_POOLS) as stack:
        served(stack)
        before = stack.kubelet.resource(ATOM).devices
        with untouched(stack, VM), locked(lock_path(stack)):
            stack.write_config(config(changed, NEW_POOL, VM_POOL))
            rolled_back(stack, "is locked")
            as_before(stack)
            stack.kubelet.wait(
                lambda k: k.resource(ATOM).devices == before, what="devices as they were"
            )


def test_one_of_several_is_enough() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        good = pool("GOOD", pciAddresses=[ATOMS[1]])
        with untouched(stack, VM), locked(lock_path(stack)):
            stack.write_config(config(good, NEW_POOL, ATOM_POOL, VM_POOL))
            rolled_back(stack, "is locked")
            as_before(stack)


def test_a_pool_without_devices_can_not_fail() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM), locked(lock_path(stack)):
            stack.write_config(config(ATOM_POOL, VM_POOL, NEW_POOL))
            assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)


def silent(stack: Stack) -> Path:
    """NEW's worker will wait, without a word, until what is returned is removed and it is ended.

    It is a FIFO where the worker's last log lines go: to open it is to wait for a reader.
    """
    path = lock_path(stack).with_suffix(".log")
    os.mkfifo(path)
    return path


def starting(stack: Stack) -> int:
    """Wait until NEW's worker waits at its FIFO; its pid."""
    status = stack.wait_status(
        lambda s: NEW in s.pools and s.pools[NEW].worker.pid, what="a worker that is starting"
    )
    assert status.pools[NEW].state == "starting"
    pid = status.pools[NEW].worker.pid
    assert pid is not None
    eventually(lambda: waits(pid), what="its opening of the FIFO")
    return pid


def waits(pid: int) -> bool:
    """Whether a process sleeps, and that for a FIFO's other end as far as we are told."""
    place = Path(f"/proc/{pid}/wchan").read_text()  # 0: nobody may know
    asleep = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    return asleep and place in {"wait_for_partner", "fifo_open", "0"}


def test_a_silent_pool_is_waited_for_and_others_wait_meanwhile() -> None:
    fewer = pool("VM", pciAddresses=[VMS[0]])
    with Stack(TWO_POOLS) as stack, ThreadPoolExecutor(2) as threads:
        served(stack)
        fifo = silent(stack)
        with untouched(stack, VM):
            stack.write_config(WITH_NEW)
            first = threads.submit(send_request, stack.run_dir, Reload())
            pid = starting(stack)
            fifo.unlink()
            assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        stack.write_config(config(ATOM_POOL, fewer))
        second = threads.submit(send_request, stack.run_dir, Reload())
        assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        assert stack.workers()[NEW] == pid
        assert not first.done()
        assert not second.done()
        assert first.result() == ErrorReply(
            (f"rolled back: {NEW} could not start: its worker said nothing within 10 s",)
        )
        assert isinstance(second.result(), ReloadReply)
        assert processes.has_ended(pid, 5)
        allocatable(stack, VM, 1)
        allocatable(stack, ATOM, len(ATOMS))


def test_a_supervisor_that_leaves_meanwhile() -> None:
    with Stack(TWO_POOLS) as stack, ThreadPoolExecutor(1) as threads:
        served(stack)
        fifo = silent(stack)
        stack.write_config(WITH_NEW)
        first = threads.submit(send_request, stack.run_dir, Reload())
        starting(stack)
        fifo.unlink()
        assert stack.stop().code == 0
        assert first.result() == ErrorReply(("the supervisor is leaving",))


def test_an_absent_kubelet_is_no_failure() -> None:
    with Stack(TWO_POOLS, late_kubelet=True) as stack:
        stack.wait_status(lambda s: len(s.pools[ATOM].devices) == len(ATOMS), what="devices")
        stack.write_config(WITH_NEW)
        assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
        stack.kubelet.start()
        served(stack, NEW, ATOM, VM)


def test_a_broken_file_meanwhile_stays_a_problem() -> None:
    """What a reload that succeeds mends is not the file that was refused after it."""
    with Stack(TWO_POOLS) as stack, ThreadPoolExecutor(1) as threads:
        served(stack)
        stack.kubelet.pods.hang()
        asked = stack.kubelet.pods.asked
        stack.write_config(WITH_NEW)
        first = threads.submit(send_request, stack.run_dir, Reload())
        eventually(lambda: stack.kubelet.pods.asked > asked, what="a look that waits")
        stack.write_config("{")
        assert isinstance(send_request(stack.run_dir, Reload()), ErrorReply)
        stack.kubelet.pods.resume()
        assert isinstance(first.result(), ReloadReply)
        (problem,) = stack.status().supervisor.problems
        assert problem.startswith("reload refused: line 1")

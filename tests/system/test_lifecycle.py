"""How a supervisor ends when it is asked to, and what its processes hold while they live."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from rbln_supervisor.core.control.protocol import ErrorReply, Reload, Rescan
from rbln_supervisor.ctl.client import send_request
from tests.sim import processes
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
    served,
    sockets,
)

pytestmark = pytest.mark.system

ENDS_WITHIN_S = 5.0
"""Generous: 2 s are promised."""


# SIGTERM


@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
def test_sigterm_leaves_nothing_behind(registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
    ) as stack:
        served(stack)
        assert len(sockets(stack)) == 2
        assert stack.stop(ENDS_WITHIN_S).code == 0
        stack.kubelet.wait(lambda k: len(k.endings) == 2, what="the end of both streams")
        assert sockets(stack) == set()
        assert stack.processes() == ()
        assert not (stack.run_dir / "control.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_ways_to_ask_for_an_end(number: signal.Signals) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        os.kill(stack.pid, number)
        assert stack.wait_exit(ENDS_WITHIN_S) == 0
        assert stack.processes() == ()


def test_sigterm_ends_a_worker_that_hangs() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        os.kill(stack.workers()[ATOM], signal.SIGSTOP)
        assert stack.stop(ENDS_WITHIN_S).code == 0
        assert stack.processes() == ()
        assert sockets(stack) == set()


def test_a_rescan_while_it_leaves_starts_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        os.kill(stack.workers()[ATOM], signal.SIGSTOP)
        os.kill(stack.pid, signal.SIGTERM)
        eventually(lambda: "leaving why=SIGTERM" in stack.log, what="SIGTERM is heard")
        for request in (Rescan(), Reload()):
            assert send_request(stack.run_dir, request) == ErrorReply(
                ("the supervisor is stopping",)
            )
        assert stack.wait_exit(ENDS_WITHIN_S) == 0
        assert stack.processes() == ()


def test_sigterm_without_a_kubelet() -> None:
    with Stack(TWO_POOLS, late_kubelet=True) as stack:
        stack.wait_status(
            lambda s: {p.state for p in s.pools.values()} == {"waiting"}, what="two that wait"
        )
        assert stack.stop(ENDS_WITHIN_S).code == 0
        assert stack.processes() == ()


@pytest.mark.parametrize(
    "sign", ["supervisor.lock", "workers.sock", "control.sock", "pools/rebellions.ai_VM.lock"]
)
def test_sigterm_at_the_start(sign: str) -> None:
    with Stack(TWO_POOLS) as stack:
        eventually((stack.run_dir / sign).exists, what=f"{sign} is made")
        os.kill(stack.pid, signal.SIGTERM)
        # Before it listens to signals there is nothing to end, and the kernel's own way will do.
        assert stack.wait_exit(ENDS_WITHIN_S) in {0, -signal.SIGTERM}
        assert stack.processes() == ()
        assert sockets(stack) == set()


def test_sigterm_at_the_first_registration() -> None:
    with Stack(TWO_POOLS) as stack:
        stack.kubelet.wait(lambda k: k.registrations, what="a registration")
        assert stack.stop(ENDS_WITHIN_S).code == 0
        assert stack.processes() == ()
        assert sockets(stack) == set()


# What a process holds


def test_a_worker_holds_its_pools_lock_while_it_lives() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        path = stack.run_dir / "pools" / "rebellions.ai_ATOM.lock"
        assert _is_locked(path)
        assert path.read_text().split()[0] == str(stack.workers()[ATOM])
        stack.kill()
        assert _is_locked(path)
        worker = int(path.read_text().split()[0])
        os.kill(worker, signal.SIGKILL)
        assert processes.has_ended(worker, 5.0)
        assert not _is_locked(path)


def _is_locked(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_pool_whose_lock_a_stranger_holds_is_served_when_he_lets_go() -> None:
    stack = Stack(TWO_POOLS)
    pools = stack.run_dir / "pools"
    pools.mkdir(parents=True)
    with (pools / "rebellions.ai_ATOM.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("1 not-a-worker\n")
        file.flush()
        with stack:
            served(stack, VM)
            status = stack.wait_status(
                lambda s: s.pools[ATOM].state == "backoff", what="ATOM in back-off"
            )
            assert "locked by a process that can't be seen from here" in status.pools[ATOM].reason
            file.close()
            allocatable(stack, ATOM, len(ATOMS), 20.0)


def test_the_supervisor_has_no_thread_of_pythons_or_grpcs() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        assert stack.ctl("rescan").returncode == 0
        names = [
            path.read_text().strip() for path in Path(f"/proc/{stack.pid}/task").glob("*/comm")
        ]
        assert [name for name in names if not name.startswith("ZMQbg/")] == ["python"]


def test_workers_hold_no_descriptor_of_the_supervisors() -> None:
    """Each has one listening socket of its own, and none of the run directory's."""
    with Stack(config(ATOM_POOL, pool("VM", drivers=["vfio-pci"]))) as stack:
        served(stack)
        own = {name: _sockets_of(pid) for name, pid in stack.workers().items()}
        assert not own[ATOM] & own[VM]
        assert not (own[ATOM] | own[VM]) & _sockets_of(stack.pid)


def _sockets_of(pid: int) -> set[str]:
    links = (str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}

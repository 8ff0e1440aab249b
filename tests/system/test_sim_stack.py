"""The stack starts the whole system, and leaves nothing behind whatever a test did to it."""

import os
import signal
from pathlib import Path

import pytest

from tests.sim import processes
from tests.sim.stack import Stack

pytestmark = pytest.mark.system

CONFIG = {
    "resourceList": [
        {
            "resourceName": "ATOM",
            "resourcePrefix": "rebellions.ai",
            "deviceType": "accelerator",
            "selectors": {"vendors": ["1eff"], "drivers": ["rebellions"]},
        },
        {
            "resourceName": "ATOM_VM",
            "resourcePrefix": "rebellions.ai",
            "deviceType": "accelerator",
            "selectors": [{"vendors": ["1eff"], "drivers": ["vfio-pci"]}],
        },
    ]
}


def listed(stack: Stack) -> None:
    stack.kubelet.wait(
        lambda k: (
            {name: seen.allocatable for name, seen in k.resources.items()}
            == {"rebellions.ai/ATOM": 4, "rebellions.ai/ATOM_VM": 2}
        ),
        what="both pools",
    )


def test_the_demo_node_is_listed_and_stopped() -> None:
    with Stack(CONFIG) as stack:
        listed(stack)
        status = stack.wait_status(lambda s: s.supervisor.ready, what="a ready supervisor")
        assert status.supervisor.pid == stack.pid
        assert sorted(stack.processes()) == sorted([stack.pid, *stack.workers().values()])
        assert stack.ctl("status", "--json").returncode == 0
    assert not Path(stack.root).exists()
    assert stack.processes() == ()


def test_a_kubelet_may_come_later() -> None:
    with Stack(CONFIG, late_kubelet=True) as stack:
        stack.wait_status(lambda s: not s.supervisor.ready, what="an answer")
        assert not stack.kubelet.registrations
        stack.kubelet.start()
        listed(stack)


def test_workers_of_a_killed_supervisor_end_with_the_stack() -> None:
    with Stack(CONFIG) as stack:
        listed(stack)
        workers = sorted(stack.workers().values())
        stack.kill()
        assert sorted(stack.processes()) == workers
    assert stack.processes() == ()


def test_a_process_that_a_stop_leaves_fails_the_test() -> None:
    left = []

    def leave_one() -> None:
        with Stack(CONFIG) as stack:
            left.append(sleeper(str(stack.run_dir)))
            listed(stack)

    with pytest.raises(AssertionError, match="outlived"):
        leave_one()
    _, status = os.waitpid(left[0], 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def sleeper(mark: str) -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "60"], {processes.MARK: mark})


def test_marked_processes_are_found_and_ended(short_path: Path) -> None:
    mark = str(short_path)
    pid = sleeper(mark)
    try:
        assert processes.marked(mark) == (pid,)
        assert not processes.has_ended(pid, 0.0)
        processes.kill(processes.marked(mark))
        assert processes.has_ended(pid, 5.0)
        assert processes.marked(mark) == ()
    finally:
        os.waitpid(pid, 0)

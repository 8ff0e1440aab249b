"""conf/supervisord.conf under the real supervisord: what the container's entrypoint does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sim import processes
from tests.sim.stack import REPOSITORY, Stack

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="conf/supervisord.conf names root as its user"),
]

ATOM = "rebellions.ai/ATOM"
CONFIG = {
    "resourceList": [
        {
            "resourceName": "ATOM",
            "resourcePrefix": "rebellions.ai",
            "deviceType": "accelerator",
            "selectors": [{"vendors": ["1eff"], "drivers": ["rebellions"]}],
        }
    ]
}


@contextmanager
def supervisord(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """A real supervisord in the place of the stack's own supervisor."""
    stack.stop()
    binaries = Path(sys.executable).parent
    arguments = f"--config-file {stack.config_file} --host-root {stack.root}"
    with stack.log_file.open("ab") as log:
        running = subprocess.Popen(
            [binaries / "supervisord", "-c", REPOSITORY / "conf/supervisord.conf"],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "RBLN_RUN_DIR": str(stack.run_dir),
                "RBLN_ARGUMENTS": arguments,
                processes.MARK: str(stack.run_dir),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        yield running
    finally:
        processes.kill(processes.marked(str(stack.run_dir)))
        running.wait()


def test_a_dead_supervisor_is_started_again_and_a_stop_leaves_nothing() -> None:
    with Stack(CONFIG) as stack:
        stack.kubelet.wait_listed(ATOM, 4)
        with supervisord(stack) as running:
            stack.kubelet.wait_listed(ATOM, 4)
            first = ask_pid(stack)
            listed = len(stack.kubelet.openings)
            os.kill(first, signal.SIGKILL)
            stack.kubelet.wait(
                lambda k: len(k.openings) > listed and k.resource(ATOM).allocatable == 4,
                what="the next supervisor's worker is listed",
            )
            assert ask_pid(stack) != first

            running.send_signal(signal.SIGTERM)
            assert processes.has_ended(running.pid, 10.0), stack.story()
            assert running.wait() == 0
            assert not processes.survivors(stack.processes(), deadline_s=1.0)
            assert not list(stack.kubelet.plugins.glob("rebellions.ai*"))


def ask_pid(stack: Stack) -> int:
    """The pid of the supervisor that answers."""
    return stack.status().supervisor.pid

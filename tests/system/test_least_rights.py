"""What deployments/kubernetes takes away is not missed: capabilities, and a root to write to."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbln_supervisor.ctl.probe_command import READY_TIMEOUT_S
from tests.sim import processes
from tests.sim.nodes import demo
from tests.sim.stack import REPOSITORY, Stack
from tests.system.fault import stopped as hanging
from tests.system.scene import ATOM, TWO_POOLS, VM, eventually, served, supervisor, texts

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose"),
]

LESS = (
    *("unshare", "--mount", "sh", "-ec"),
    # All that is mounted is read-only then, but for the node, which has the folders of the pod.
    'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"',
)
NOTHING = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")


@contextmanager
def unprivileged(stack: Stack, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor on the stack's node that may do what the pod's may."""
    home = stack.run_dir.parent
    command = supervisor(
        *("--config-file", stack.config_file),
        *("--host-root", stack.root),
        *("--run-dir", stack.run_dir),
        *stack.arguments,
        *arguments,
    )
    with stack.log_file.open("ab") as log:
        process = subprocess.Popen(
            [*LESS, home, *NOTHING, *command],
            cwd=REPOSITORY,
            env={
                **os.environ,
                processes.MARK: str(stack.run_dir),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(stack.run_dir),
            },
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10.0)


@contextmanager
def stopped() -> Iterator[Stack]:
    """A node and its kubelet, and no supervisor."""
    with Stack(TWO_POOLS, demo) as stack:
        served(stack)
        assert stack.stop().code == 0
        yield stack


def rights(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1].strip() for line in lines}


@pytest.mark.parametrize("arguments", [(), ("--use-cdi",)], ids=["nodes", "cdi"])
def test_nothing_is_missed(arguments: tuple[str, ...]) -> None:
    with stopped() as stack, unprivileged(stack, *arguments) as process:
        eventually(lambda: stack.ctl("probe", "ready").returncode == 0, what="it is ready")
        assert {name: stack.status().pools[name].state for name in (ATOM, VM)} == {
            ATOM: "serving",
            VM: "serving",
        }
        problems = texts(stack.status().supervisor.problems)
        assert not [line for line in problems if "permi" in line.lower()], problems
        for pid in (process.pid, *stack.workers().values()):
            seen = rights(pid)
            assert {seen[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
            assert seen["NoNewPrivs"] == "1"
        assert all(
            device.health == "Healthy"
            for pool in stack.status().pools.values()
            for device in pool.devices.values()
        )
        stack.kubelet.allocate(ATOM, [[next(iter(stack.kubelet.resource(ATOM).devices))]])
        assert stack.ctl("reload").returncode == 0


def test_an_adoption_needs_no_right_either() -> None:
    with stopped() as stack, unprivileged(stack) as first:
        eventually(lambda: stack.ctl("probe", "ready").returncode == 0, what="it is ready")
        workers = stack.workers()
        first.kill()
        first.wait()
        with unprivileged(stack):
            eventually(lambda: stack.ctl("probe", "ready").returncode == 0, what="the next is")
            assert stack.workers() == workers


def test_probes_say_what_is_missing() -> None:
    with Stack(TWO_POOLS, late_kubelet=True) as stack:
        eventually(lambda: stack.ctl("probe", "alive").returncode == 0, what="it answers")
        done = stack.ctl("probe", "ready")
        assert done.returncode == 1
        assert done.stdout == ""
        assert f"{ATOM} is waiting" in done.stderr
        stack.kubelet.start()
        served(stack)
        eventually(lambda: stack.ctl("probe", "ready").returncode == 0, what="all is listed")
        with hanging(stack):
            done = stack.ctl("probe", "ready")
            assert done.returncode == 3
            assert f"within {READY_TIMEOUT_S:g} s: the supervisor hangs" in done.stderr
        stack.kill()
        for question in ("alive", "ready"):
            assert stack.ctl("probe", question).returncode == 3
        assert stack.ctl("probe", "well?").returncode == 2
        stack.start()
        eventually(lambda: stack.ctl("probe", "ready").returncode == 0, what="the next one is")

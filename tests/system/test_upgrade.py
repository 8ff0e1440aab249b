"""rbln-ctl upgrade: the installed version replaces the running one, and the kubelet sees no gap."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbln_worker.contract.problem import Code
from tests.sim import processes
from tests.sim.kubelet import SimKubelet, kubelet_1_34, kubelet_1_37
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
    served,
    untouched,
)

pytestmark = pytest.mark.system

POOLS = {ATOM: ATOMS, VM: VMS}
VERSION = "rbln_worker/contract/version.py"


@contextmanager
def installed(
    folder: Path, kubelet: Callable[[Path], SimKubelet] = kubelet_1_37
) -> Iterator[Stack]:
    """A system whose program is a copy that can be changed while it runs."""
    for package in ("rbln_supervisor", "rbln_worker"):
        shutil.copytree(
            REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )

    stack = Stack(TWO_POOLS, kubelet=kubelet)
    stack.under = ("env", "-C", str(folder))
    with stack:
        served(stack)
        yield stack


def install(folder: Path, version: str) -> None:
    """Put another version in the place of the one that runs."""
    (folder / VERSION).write_text(f'VERSION = "{version}"\n')


def zombies(pid: int) -> list[str]:
    """The children of a process that have ended and were not reaped (proc(5))."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = file.read_text().rpartition(")")
        except OSError:  # gone in between
            continue
        state, parent = fields.split()[:2]
        if state == "Z" and int(parent) == pid:
            found.append(name)
    return found


def test_the_same_version_goes_on_with_its_workers(tmp_path: Path) -> None:
    with installed(tmp_path) as stack:
        workers, pid = stack.workers(), stack.pid
        with untouched(stack, *POOLS):
            for _ in range(2):
                done = stack.ctl("upgrade")
                assert (done.returncode, done.stderr) == (0, "")
                assert done.stdout == "upgraded: 0.1.0 to 0.1.0, 2 workers kept, 0 replaced\n"
        assert (stack.workers(), stack.pid) == (workers, pid)
        assert not zombies(pid)
        assert stack.kubelet.registrations == stack.kubelet.registrations[:2]
        assert stack.stop().code == 0
        assert stack.processes() == ()


@pytest.mark.parametrize("kubelet", [kubelet_1_34, kubelet_1_37])
def test_another_version_replaces_the_workers_while_they_serve(
    tmp_path: Path, kubelet: Callable[[Path], SimKubelet]
) -> None:
    with installed(tmp_path, kubelet) as stack:
        workers, pid = stack.workers(), stack.pid
        install(tmp_path, "0.2.0")
        done = stack.ctl("upgrade", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {
            "before": "0.1.0",
            "after": "0.2.0",
            "kept": [],
            "replaced": [ATOM, VM],
        }
        assert stack.pid == pid
        eventually(
            lambda: not set(workers.values()) & set(stack.processes()), what="the old ones left"
        )
        for name, ids in POOLS.items():
            allocatable(stack, name, len(ids))
            if stack.kubelet.keeps_each_socket:
                assert lowest_allocatable(stack.kubelet, name) == len(ids)
        assert {p.worker.version for p in stack.status().pools.values()} == {"0.2.0"}


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("rbln_supervisor/main.py", "this is no Python", "SyntaxError"),
        ("rbln_worker/worker.py", "import no_such_module", "No module named 'no_such_module'"),
        ("rbln_supervisor/cli.py", "import sys; sys.exit(3)", "exit code 3"),
    ],
    ids=["broken", "incomplete", "ends"],
)
def test_a_version_that_can_not_be_started_replaces_nothing(
    tmp_path: Path, path: str, text: str, words: str
) -> None:
    with installed(tmp_path) as stack:
        started = stack.status().supervisor.uptime_s
        with untouched(stack, *POOLS):
            (tmp_path / path).write_text(text)
            done = stack.ctl("upgrade")
        assert (done.returncode, done.stdout) == (1, "")
        assert "cannot start the installed version, this one goes on" in done.stderr
        assert words in done.stderr
        assert stack.status().supervisor.uptime_s >= started


def test_a_stop_ends_a_check_and_answers_its_requester(tmp_path: Path) -> None:
    with installed(tmp_path) as stack:
        (tmp_path / "rbln_supervisor/main.py").write_text("import time; time.sleep(60)")
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(stack.ctl, "upgrade")
            eventually(
                lambda: len(processes.marked(str(stack.run_dir))) > len(POOLS) + 2,
                what="the check runs beside supervisor, workers and rbln-pods",
            )
            assert stack.stop().code == 0
            done = asked.result()
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "rbln-ctl: the supervisor is stopping\n"
        assert not processes.marked(str(stack.run_dir))


def test_one_that_does_not_know_the_options_replaces_nothing(tmp_path: Path) -> None:
    with installed(tmp_path) as stack, untouched(stack, *POOLS):
        file = tmp_path / "rbln_supervisor/cli.py"
        file.write_text(file.read_text().replace('"run-dir"', '"run-folder"'))
        done = stack.ctl("upgrade")
        assert done.returncode == 1
        assert "unknown option --run-dir" in done.stderr


def test_a_configuration_file_that_is_wrong_by_now_does_not_stop_an_upgrade(
    tmp_path: Path,
) -> None:
    """As at any start: the last accepted configuration serves on."""
    with installed(tmp_path) as stack, untouched(stack, *POOLS):
        stack.write_config("{")
        assert stack.ctl("upgrade").returncode == 0
        assert any(one.code is Code.RELOAD_REFUSED for one in stack.status().supervisor.problems)


def test_a_worker_that_ended_meanwhile_is_reaped_and_replaced(tmp_path: Path) -> None:
    with installed(tmp_path) as stack:
        killed = stack.workers()[ATOM]
        with untouched(stack, VM):
            os.kill(killed, signal.SIGSTOP)
            os.kill(killed, signal.SIGKILL)
            stack.ctl("upgrade")
            served(stack)
        assert not processes.survivors([killed], 5.0)


def test_an_adopted_worker_that_is_still_a_child_has_an_exit_status(tmp_path: Path) -> None:
    with installed(tmp_path) as stack:
        assert stack.ctl("upgrade").returncode == 0
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        stack.wait_status(
            lambda s: (s.pools[ATOM].worker.last_exit or "").startswith("killed by SIGKILL"),
            what="how it ended",
        )
        served(stack)


def test_requests_that_wait_are_answered(tmp_path: Path) -> None:
    with installed(tmp_path) as stack:
        assert stack.ctl("rescan").returncode == 0
        assert stack.ctl("upgrade").returncode == 0
        assert stack.ctl("rescan").returncode == 0

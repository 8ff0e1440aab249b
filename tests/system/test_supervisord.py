"""conf/supervisord.conf under the real supervisord: what the container's entrypoint does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from rbln_supervisor.config import accepted
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError
from tests.sim import processes
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import eventually, untouched

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
def supervisord(
    stack: Stack,
    config_file: Path | None = None,
    *flags: str,
    listen: str = "127.0.0.1:0",
    rights: tuple[str, ...] = (),
    piped: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A real supervisord in the place of the stack's own supervisor, as the image starts it."""
    stack.stop()
    binaries = Path(sys.executable).parent
    chosen: tuple[str | Path, ...] = (
        "--config-file",
        config_file or stack.config_file,
        "--host-root",
        stack.root,
        *flags,
    )
    with stack.log_file.open("ab") as file:
        command = ("cat",) if piped else ("true",)
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
        assert reader.stdin is not None
        log = reader.stdin if piped else file
        running = subprocess.Popen(
            [*rights, sys.executable, "-m", "rbln_supervisor.entrypoint", *chosen],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY),  # or the program is that of the installed package
                "RBLN_RUN_DIR": str(stack.run_dir),
                "RBLN_EXPORTER_LISTEN": listen,
                "RBLN_SUPERVISORD_CONF": str(REPOSITORY / "conf/supervisord.conf"),
                processes.MARK: str(stack.run_dir),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        reader.stdin.close()
    try:
        yield running
    finally:
        processes.kill(processes.marked(str(stack.run_dir)))
        running.wait()
        reader.wait()


def answering(stack: Stack, *, other_than: int = 0) -> NodeStatus:
    """The status as soon as a supervisor is ready, and it is not that one."""
    found: list[NodeStatus] = []

    def ready() -> bool:
        try:
            status = stack.status()
        except UnreachableError:
            return False
        if status.supervisor.pid == other_than or not status.supervisor.ready:
            return False
        found.append(status)
        return True

    eventually(ready, what="a supervisor is ready")
    return found[-1]


def pid_of(status: NodeStatus) -> int:
    """The worker's."""
    pid = status.pools[ATOM].worker.pid
    assert pid is not None
    return pid


def test_a_dead_supervisor_is_nobodys_and_a_stop_leaves_nothing() -> None:
    with Stack(CONFIG) as stack, supervisord(stack) as running:
        status = answering(stack)
        worker = pid_of(status)
        with untouched(stack, ATOM):
            for _ in range(2):
                first = status.supervisor.pid
                os.kill(first, signal.SIGKILL)
                status = answering(stack, other_than=first)
                assert (pid_of(status), status.pools[ATOM].state) == (worker, "serving")
                assert status.pools[ATOM].worker.restarts == 0

        running.send_signal(signal.SIGTERM)
        assert processes.has_ended(running.pid, 10.0), stack.story()
        assert running.wait() == 0
        assert not processes.survivors(stack.processes(), deadline_s=1.0)
        assert not list(stack.kubelet.plugins.glob("rebellions.ai*"))


def test_the_exporters_end_is_nobody_elses() -> None:
    with Stack(CONFIG) as stack, supervisord(stack) as running:
        status = answering(stack)
        with untouched(stack, ATOM):
            for life in (1, 2):
                eventually(partial(serves, stack, life), what="an exporter serves")
                assert ready(ports(stack)[-1])
                (exporter,) = (
                    pid
                    for pid in stack.processes()
                    if b"rbln-exporter" in Path(f"/proc/{pid}/cmdline").read_bytes()
                )
                os.kill(exporter, signal.SIGKILL)
        assert answering(stack).supervisor.pid == status.supervisor.pid
        running.send_signal(signal.SIGTERM)
        assert processes.has_ended(running.pid, 10.0), stack.story()
        assert not processes.survivors(stack.processes(), deadline_s=1.0)


def test_an_updates_exporter_waits_for_the_address_and_the_pod_is_ready_without() -> None:
    """Two pods on the node's network, as maxSurge has them for some seconds."""
    with socket.create_server(("127.0.0.1", 0)) as earlier, Stack(CONFIG) as stack:
        port = earlier.getsockname()[1]
        with supervisord(stack, listen=f"127.0.0.1:{port}"):
            answering(stack)
            eventually(lambda: "the address is in use" in stack.log, what="it waits")
            assert stack.ctl("probe", "ready").returncode == 0
            with untouched(stack, ATOM):
                earlier.close()
                eventually(partial(serves, stack, 1), what="an exporter serves", deadline_s=20)
            assert ports(stack) == [port]
            assert ready(port)
            assert stack.log.count("spawned: 'rbln-exporter'") == 1, "the one that waited"


TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 "
    r"(DEBUG  |INFO   |WARNING|ERROR  |CRITICAL) "
    r"(supervisord|supervisor|exporter|rebellions\.ai/ATOM): "
)


def test_all_lines_have_one_form_of_time_whoever_writes_them() -> None:
    with Stack(CONFIG) as stack:
        with supervisord(stack) as running:
            answering(stack)
            eventually(partial(serves, stack, 1), what="an exporter serves")
            before = answering(stack).supervisor.pid
            os.kill(before, signal.SIGKILL)
            answering(stack, other_than=before)
            running.send_signal(signal.SIGTERM)
            assert processes.has_ended(running.pid, 10.0), stack.story()
        lines = stack.log.splitlines()
        assert not [line for line in lines if not TEXT_LINE.match(line)], stack.log
        for said in (
            "WARNING supervisord: exited: rbln-supervisor (terminated by SIGKILL; not expected)",
            "INFO    supervisord: spawned: 'rbln-supervisor' with pid ",
            "INFO    supervisord: stopped: rbln-exporter (exit status 0)",
        ):
            assert said in stack.log


def test_all_lines_are_json() -> None:
    with Stack(CONFIG) as stack:
        stack.log_file.write_text("")
        with supervisord(stack, None, "--log-format=json") as running:
            answering(stack)
            eventually(lambda: '"exporter"' in stack.log, what="the exporter has said something")
            running.send_signal(signal.SIGTERM)
            assert processes.has_ended(running.pid, 10.0), stack.story()
        begun = stack.log.index('{"time"')
        said = [json.loads(line) for line in stack.log[begun:].splitlines()]
        assert {entry["who"] for entry in said} == {"supervisord", "supervisor", ATOM, "exporter"}
        assert all(entry["time"].endswith("+00:00") for entry in said)


def ports(stack: Stack) -> list[int]:
    """Of the exporters that have served."""
    return [int(port) for port in re.findall(r"exporter: serving .*port=(\d+)", stack.log)]


def serves(stack: Stack, life: int) -> bool:
    return len(ports(stack)) == life


def ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        return bool(answer.status == 200)


@pytest.mark.parametrize("rights", [(), ("setpriv", "--bounding-set=-all", "--inh-caps=-all")])
def test_a_workers_lines_come_while_there_is_no_supervisor(rights: tuple[str, ...]) -> None:
    """Also with a pipe as standard error and without capabilities, as in a pod."""
    with Stack(CONFIG) as stack, supervisord(stack, rights=rights, piped=True) as running:
        first = answering(stack)
        worker = pid_of(first)
        assert stderr_of(worker) == stderr_of(running.pid)
        assert stderr_of(worker).startswith("pipe:")
        privileges = Path(f"/proc/{running.pid}/status").read_text()
        assert ("CapEff:\t0000000000000000" in privileges) == bool(rights)
        # supervisord is stopped, so that it starts no supervisor.
        running.send_signal(signal.SIGSTOP)
        os.kill(first.supervisor.pid, signal.SIGKILL)
        stack.node.remove_dev_node("rbln0")
        stack.kubelet.wait_listed(ATOM, 3, 4)
        line = "device unhealthy device=0000:20:00.0"
        eventually(lambda: line in stack.log, what="a line of the worker")
        running.send_signal(signal.SIGCONT)
        second = answering(stack, other_than=first.supervisor.pid)
        assert pid_of(second) == worker
        stack.node.remove_dev_node("rbln1")
        line = "device unhealthy device=0000:21:00.0"
        eventually(lambda: line in stack.log, what="a line of the adopted worker")
        assert stderr_of(second.supervisor.pid) == stderr_of(running.pid)


def test_a_file_with_an_odd_name_is_found() -> None:
    with Stack(CONFIG) as stack:
        odd = stack.config_file.with_name('it\'s %(here)s; #1 "$HOME" \\ \n %s*.json')
        odd.write_bytes(stack.config_file.read_bytes())
        stack.write_config("{")
        with supervisord(stack, odd) as running:
            assert answering(stack).pools[ATOM].worker.pid is not None
            running.send_signal(signal.SIGTERM)
            assert processes.has_ended(running.pid, 10.0), stack.story()
            assert running.wait() == 0


def stderr_of(pid: int) -> str:
    """The pipe."""
    return str(Path(f"/proc/{pid}/fd/2").readlink())


def test_a_supervisor_that_can_not_start_leaves_the_workers_alone() -> None:
    with Stack(CONFIG) as stack, supervisord(stack) as running:
        first = answering(stack)
        with untouched(stack, ATOM):
            stack.write_config("{")
            (stack.run_dir / accepted.FILE).unlink()  # with it the last accepted one is served
            os.kill(first.supervisor.pid, signal.SIGKILL)
            eventually(
                lambda: stack.log.count("rbln-supervisor: ") >= 2, what="two starts that fail"
            )
            stack.write_config(CONFIG)
            second = answering(stack, other_than=first.supervisor.pid)
        assert pid_of(second) == pid_of(first)
        running.send_signal(signal.SIGTERM)
        assert processes.has_ended(running.pid, 10.0), stack.story()
        assert not processes.survivors(stack.processes(), deadline_s=1.0)

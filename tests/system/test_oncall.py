"""What somebody on call uses beside doctor: a live status, and parts of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sim.stack import REPOSITORY, Stack
from tests.sim.terminal import Terminal
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    served,
)

pytestmark = pytest.mark.system

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"COLUMNS", "LINES", "NO_COLOR"}
}


def watching(stack: Stack, *options: str, columns: int = 100, lines: int = 40) -> Terminal:
    program = (sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(stack.run_dir))
    environment = {**ENVIRONMENT, "TERM": "xterm-256color"}
    return Terminal(
        [*program, "status", "--watch", *options], environment, columns=columns, lines=lines
    )


def test_watch_sees_devices_and_supervisors_come_and_go() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        screen = watching(stack, "--interval", "0.2", columns=200)
        assert "\x1b[?1049h" in screen.wait("● ready")  # the alternate screen
        stack.node.set_status("rbln1", 3)
        screen.wait("its status is FAULT")
        stack.kill()
        screen.wait("no reply for .*the supervisor has ended.*Last known status")
        stack.start()
        screen.wait(f"pid {stack.pid}.*● ready")
        code, last = screen.end(signal.SIGINT)
        assert code == 0
        assert "\x1b[?1049l" in last  # the terminal is as it was
        assert "\x1b[?25h" in last
        assert "Traceback" not in last


def test_watch_leaves_a_terminal_as_it_was_when_it_is_ended() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        screen = watching(stack, lines=8)
        screen.wait(r"\.\.\.")  # more lines than the screen has
        code, last = screen.end(signal.SIGTERM)
        assert code == 128 + signal.SIGTERM
        assert "\x1b[?1049l" in last


def test_watch_as_json_is_a_line_a_look_and_one_connection() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        lines = subprocess.Popen(
            [
                *(sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(stack.run_dir)),
                *("status", "--watch", "--json", "--interval", "0.1", "--pool", "ATOM"),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert lines.stdout is not None
        status: dict[str, Any] = {}
        for _ in range(10):
            status = json.loads(lines.stdout.readline())
            assert list(status["pools"]) == [ATOM]
        assert connections(lines.pid) == 1
        stack.kill()
        while "unreachable" not in status:
            status = json.loads(lines.stdout.readline())
        stack.start()
        while "unreachable" in status:
            status = json.loads(lines.stdout.readline())
        lines.stdout.close()  # the reader has enough
        assert lines.wait(30) == 0
        assert lines.stderr is not None
        assert lines.stderr.read() == b""
        lines.stderr.close()


def connections(pid: int) -> int:
    """Unix stream sockets of a process that are connected (proc(5), /proc/net/unix: St 03)."""
    connected = {
        line.split()[6]
        for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
        if line.split()[5] == "03" and line.split()[4] == "0001"
    }
    targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(f"socket:[{inode}]" in targets for inode in connected)


def test_a_part_of_the_status() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln1", 3)
        allocatable(stack, ATOM, 3)
        whole = json.loads(stack.ctl("status", "--json").stdout)
        vm = json.loads(stack.ctl("status", "--json", "--pool", "VM").stdout)
        assert vm["pools"] == {VM: whole["pools"][VM]}
        sick = json.loads(stack.ctl("status", "--json", "--unhealthy").stdout)
        assert {name: list(pool["devices"]) for name, pool in sick["pools"].items()} == {
            ATOM: [ATOMS[1]]
        }
        none = stack.ctl("status", "--pool", "nope")
        assert (none.returncode, none.stdout) == (1, "")
        assert none.stderr == f"rbln-ctl: no pool nope: the pools are {ATOM}, {VM}\n"

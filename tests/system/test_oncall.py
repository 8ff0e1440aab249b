"""What somebody on call uses beside doctor: a live status, completion."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.sim.stack import REPOSITORY, Stack
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


class Terminal:
    """A program on a terminal, and what it shows."""

    def __init__(self, stack: Stack, *arguments: str, columns: int = 100, lines: int = 40) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", stack.run_dir, *arguments],
            cwd=REPOSITORY,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**ENVIRONMENT, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def wait(self, pattern: str, deadline_s: float = 20.0) -> str:
        """What was shown since the last time, up to what is waited for."""
        end = monotonic() + deadline_s
        while not (found := re.search(pattern, self.shown, re.DOTALL)):
            assert select.select([self._ours], [], [], max(0.0, end - monotonic()))[0], self.shown
            self.shown += os.read(self._ours, 65536).decode(errors="replace")
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """The exit code after a signal, and what is shown last."""
        self.process.send_signal(number)
        with contextlib.suppress(OSError):  # the terminal's end
            while piece := os.read(self._ours, 65536):
                self.shown += piece.decode(errors="replace")
        os.close(self._ours)
        return self.process.wait(30), self.shown


def test_watch_sees_devices_and_supervisors_come_and_go() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        screen = Terminal(stack, "status", "--watch", "--interval", "0.2", columns=200)
        assert "\x1b[?1049h" in screen.wait("● ready")  # the alternate screen
        stack.node.set_status("rbln1", 3)
        screen.wait("its status is FAULT")
        stack.kill()
        screen.wait("no answer for .*the supervisor that made it is gone.*What it said last")
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
        screen = Terminal(stack, "status", "--watch", lines=8)
        screen.wait("more lines; --pool and --unhealthy show less")
        code, last = screen.end(signal.SIGTERM)
        assert code == 128 + signal.SIGTERM
        assert "\x1b[?1049l" in last


def test_watch_as_json_is_a_line_a_look_and_one_connection() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        watching = subprocess.Popen(
            [
                *(sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(stack.run_dir)),
                *("status", "--watch", "--json", "--interval", "0.1", "--pool", "ATOM"),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watching.stdout is not None
        status: dict[str, Any] = {}
        for _ in range(10):
            status = json.loads(watching.stdout.readline())
            assert list(status["pools"]) == [ATOM]
        assert connections(watching.pid) == 1
        stack.kill()
        while "unreachable" not in status:
            status = json.loads(watching.stdout.readline())
        stack.start()
        while "unreachable" in status:
            status = json.loads(watching.stdout.readline())
        watching.stdout.close()  # the reader has enough
        assert watching.wait(30) == 0
        assert watching.stderr is not None
        assert watching.stderr.read() == b""
        watching.stderr.close()


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
        assert none.stderr == f"rbln-ctl: no pool nope: there are {ATOM}, {VM}\n"


@pytest.fixture(scope="module")
def completing() -> Iterator[Stack]:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        yield stack


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("rbln-ctl sta", ["status"]),
        ("rbln-ctl explain 0000:6", ["60:00.0", "61:00.0"]),
        ("rbln-ctl status --pool rebellions.ai/A", [ATOM]),
        ("rbln-ctl events --device 0000:20", ["20:00.0"]),
        ("rbln-ctl status --un", ["--unhealthy"]),
        ("rbln-ctl completion z", ["zsh"]),
    ],
)
def test_bash_completes(completing: Stack, tmp_path: Path, line: str, found: list[str]) -> None:
    program = tmp_path / "rbln-ctl"
    program.write_text(
        f"#!/bin/sh\ncd {REPOSITORY}\n"
        f'exec {sys.executable} -m rbln_supervisor.ctl --run-dir {completing.run_dir} "$@"\n'
    )
    program.chmod(0o755)
    script = f"""
        PATH={tmp_path}:$PATH
        source <(rbln-ctl completion bash)
        COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}
        _rbln_ctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == found
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(completing: Stack, shell: str) -> None:
    done = completing.ctl("completion", shell)
    assert done.returncode == 0
    assert "rbln-ctl complete --" in done.stdout
    assert completing.ctl("complete", "--", "explain", "0000:6").stdout.split() == [
        "0000:60:00.0",
        "0000:61:00.0",
    ]
    assert completing.ctl("complete", "--", "").stdout.split()[0] == "status"
    nobody = completing.ctl("complete", "--", "--run-dir", "/nowhere", "explain", "")
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (0, "", "")

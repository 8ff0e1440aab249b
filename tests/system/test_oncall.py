"""What somebody on call uses beside doctor: a live status, and parts of it."""

import json
import os
import signal
import sys

import pytest

from tests.sim.stack import Stack
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
        screen = watching(stack, columns=200)
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


def test_watch_without_a_terminal_is_refused() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        done = stack.ctl("status", "--watch")
        assert (done.returncode, done.stdout) == (1, "")
        assert "--watch needs a terminal" in done.stderr
        done = stack.ctl("status", "--watch", "--json")
        assert done.returncode == 1
        assert "--watch shows a screen" in done.stderr


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

"""rbln-ctl where nobody answers: a line, exit code 3, and no waiting for nothing."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl import client
from tests.unit.asking import ROOT, ctl, supervisor, unreachable, until


def test_no_socket_is_said_at_once(run_dir: Path) -> None:
    unreachable(
        ctl("status", "--run-dir", run_dir / "none"),
        f"no socket {run_dir}/none/control.sock: "
        "start rbln-supervisor, or name its directory with --run-dir",
    )


def test_a_dead_socket_is_said_at_once(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{run_dir}/control.sock")
    unreachable(
        ctl("status", "--run-dir", run_dir),
        f"no process listens at {run_dir}/control.sock: the supervisor has ended, start it again",
    )


@pytest.mark.parametrize("name", ["x" * 200, "file"])
def test_what_can_be_no_socket(run_dir: Path, name: str) -> None:
    (run_dir / "file").touch()
    done = ctl("status", "--run-dir", run_dir / name)
    assert (done.returncode, done.stdout) == (3, "")
    assert "control.sock is no control socket (" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_answers(run_dir: Path) -> None:
    began = time.monotonic()
    with supervisor(run_dir), pytest.raises(client.UnreachableError) as caught:
        client.send_request(run_dir, protocol.Status(), timeout_s=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    assert str(caught.value) == (
        f"no answer from {run_dir}/control.sock within 0.2 s: "
        "the supervisor hangs or is overloaded: see its log"
    )


def test_somebody_listens_who_speaks_no_zeromq(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(f"{run_dir}/control.sock")
        stranger.listen(0)
        began = time.monotonic()
        done = ctl("status", "--run-dir", run_dir)
    assert done.returncode == 3
    assert "within 5 s" in done.stderr
    assert 5 <= time.monotonic() - began < 20


def test_ctrl_c_while_it_waits(run_dir: Path) -> None:
    with supervisor(run_dir) as asked:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "rbln_supervisor.ctl", "status", "--run-dir", str(run_dir)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(lambda: bool(asked))
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=30) == (b"", b"")
    assert waiting.returncode == 130

"""rbln-ctl doctor where more is wrong than one thing; test_doctor_faults.py has each thing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from rbln_supervisor.options import FILE as OPTIONS
from tests.sim.node import SimNode
from tests.sim.nodes import demo, npus
from tests.sim.stack import REPOSITORY, Stack
from tests.system.fault import plainly, seen, told
from tests.system.scene import ATOMS, TWO_POOLS, served

pytestmark = pytest.mark.system


def doctor(stack: Stack, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and a problem of each code."""
    said = told(plainly(stack, "--json", *arguments))
    return said.exit, said.problems


def test_without_a_supervisor_files_tell() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kill()
        stack.node.remove_dev_node("rbln2")
        code, problems = doctor(stack)
        assert code == 3
        assert set(problems) == {"supervisor-down", "node-missing"}
        assert any("workers serve on" in line for line in problems["supervisor-down"]["evidence"])
        (stack.run_dir / OPTIONS).write_bytes(b'{"config_file": 3')
        code, problems = doctor(
            stack,
            *("--config-file", str(stack.config_file)),
            *("--host-root", str(stack.root)),
        )
        assert code == 3
        assert {"supervisor-down", "node-missing"} <= set(problems)
        stack.start()
        stack.wait_status(lambda now: now.supervisor.ready, what="it goes on")


def test_a_file_that_hangs_does_not_hang_doctor() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.hang(ATOMS[1], "modalias")
        began = monotonic()
        code, problems = doctor(stack)
        assert monotonic() - began < 40
        assert code == 1
        assert problems["check-timed-out"]["subject"] == "hardware"
        assert "dmesg" in problems["check-timed-out"]["hint"]
        stack.node.set_attribute(ATOMS[1], "modalias", None)


@pytest.fixture
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory of which nothing is what it should be."""
    folder = tmp_path_factory.mktemp("r")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "control.sock"))
        listening.listen(1)
        (folder / "options.json").write_bytes(b"\xff" * 100_000)
        (folder / "supervisor.lock").write_bytes(b"-1 \0")
        (folder / "pools").mkdir()
        (folder / "pools" / "\udcff_x.lock").write_bytes(b"99999999999999 x")
        os.mkfifo(folder / "pools" / "a_b.log")
        (folder / "supervisor.events").write_bytes(b'{"at": "x"}\n\xff\xfe\n[[[[')
        yield folder


@pytest.mark.parametrize("verb", ["doctor", "status", "events", "support-bundle"])
@pytest.mark.parametrize("place", ["strange", "/nowhere", "/dev/null", "/proc/self"])
def test_no_traceback_whatever_the_run_directory_is(
    strange: Path, tmp_path: Path, verb: str, place: str
) -> None:
    folder = strange if place == "strange" else place
    more = [str(tmp_path / "x.tar.gz")] if verb == "support-bundle" else []
    done = subprocess.run(
        [*(sys.executable, "-m", "rbln_supervisor.ctl", verb, "--run-dir", str(folder)), *more],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    readable = (verb, place) == ("events", "strange")  # its garbage is no event
    assert done.returncode == (0 if readable else 3), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if more:
        assert (tmp_path / "x.tar.gz").stat().st_mode & 0o777 == 0o600


def test_many_npus_are_one_problem() -> None:
    def build(node: SimNode) -> None:
        demo(node)
        node.add(*(one for one in npus(40) if one.bdf not in (*ATOMS,) and one.bdf < "0000:60"))

    with Stack(TWO_POOLS, build) as stack:
        served(stack)
        for name in stack.node.devices:
            if name not in ATOMS and name < "0000:60":
                stack.node.unbind(name)
        found = seen(stack, "driver-missing").problems["driver-missing"]
        assert len(found["evidence"]) == 9
        assert found["evidence"][-1].startswith("… and ")

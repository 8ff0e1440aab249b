"""ddptool as it may be: there or not, answering, failing, silent."""

import os
from pathlib import Path
from time import monotonic

import pytest

from rbln_worker.host.discovery.ddp import DdpTool

BDF = "0000:5e:00.0"
ANSWER = '{"DDPInventory": {"device": "x", "DDPpackage": {"track_id": "1", "name": "%s"}}}'


def tool(folder: Path, script: str) -> str:
    path = folder / "ddptool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_package_of_a_device(tmp_path: Path) -> None:
    script = f"[ \"$*\" = '-l -a -j -s {BDF}' ] && echo '{ANSWER % 'GTPv1-C/U IPv4'}'"
    ddptool = DdpTool(tool(tmp_path, script))
    assert ddptool.loaded_package(BDF) == "GTPv1-C/U IPv4"
    assert ddptool.problems == []


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 8", None),  # supported, and nothing is loaded
        (f"echo '{ANSWER % ''}'", None),
        ("echo '{\"DDPInventory\": {}}'", None),
        (f"echo '{ANSWER % chr(27)}'", "unreadable answer"),
        ("exit 3", "exit code 3"),
        ("echo nonsense", "unreadable answer"),
        ("echo '{}'", "unreadable answer"),
        ("head -c 1000000 /dev/zero", "unreadable answer"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_no_package(tmp_path: Path, script: str, problem: str | None) -> None:
    ddptool = DdpTool(tool(tmp_path, script))
    assert ddptool.loaded_package(BDF) == ""
    assert len(ddptool.problems) == (problem is not None)
    assert all(problem in told.text for told in ddptool.problems if problem)


def test_a_tool_that_is_not_there_is_looked_for_once(tmp_path: Path) -> None:
    ddptool = DdpTool(str(tmp_path / "ddptool"))
    assert [ddptool.loaded_package(BDF), ddptool.loaded_package(BDF)] == ["", ""]
    (problem,) = ddptool.problems
    assert "not found" in problem.text


def test_a_tool_that_may_not_be_run(tmp_path: Path) -> None:
    path = tmp_path / "ddptool"
    path.write_text("x")
    ddptool = DdpTool(str(path))
    assert ddptool.loaded_package(BDF) == ""
    assert [one.text for one in ddptool.problems] == [f"{path}: Permission denied"]


def test_a_silent_tool_is_ended_in_time(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    ddptool = DdpTool(tool(tmp_path, f"echo $$ > {pid_file}; exec sleep 60"), call_s=0.5)
    began = monotonic()
    assert ddptool.loaded_package(BDF) == ""
    assert monotonic() - began < 10
    assert "no answer within 0.5 s" in ddptool.problems[0].text
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_all_calls_together_have_a_time(tmp_path: Path) -> None:
    ddptool = DdpTool(tool(tmp_path, "exec sleep 60"), call_s=0.3, all_s=0.5)
    assert [ddptool.loaded_package(f"0000:5e:00.{n}") for n in range(8)] == [""] * 8
    assert sum("no answer" in told.text for told in ddptool.problems) <= 2
    assert sum("could be asked in time" in told.text for told in ddptool.problems) == 1

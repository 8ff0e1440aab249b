"""Another plugin beside ours: a small one here, where there is no real other one."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import msgspec
import pytest

from tests.bench import against
from tests.bench.arena import CONFIG, KUBELET
from tests.bench.catalogue import FIGURES, OTHERWISE
from tests.bench.running import begun, ended
from tests.bench.values import Report
from tests.sim import processes

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TINY: Final = f"{sys.executable} -m tests.sim.tiny {{config}}"
QUICK: Final = ("--quick", "--size", "small")
BOTH: Final = {
    *("start", "allocate", "prefer", "kubelet", "worker", "npu-gone"),
    *("frames", "rss", "pss", "idle"),
}


@pytest.fixture
def possible() -> None:
    """Skips where the namespaces, or their device nodes, can't be made."""
    try:
        against.command(TINY, ("start",))
    except against.NotPossible as error:
        pytest.skip(str(error))


@contextmanager
def nothing_left(mark: str) -> Iterator[None]:
    """Afterwards no process and no folder of the machine is there that was not before."""
    before = CONFIG.parent.exists(), KUBELET.exists()
    yield
    left = processes.survivors(processes.marked(mark), 10.0)
    assert not left
    assert (CONFIG.parent.exists(), KUBELET.exists()) == before


def homes(pid: int) -> list[Path]:
    return [*Path("/tmp").glob(f"rba-{pid}-*")]


@pytest.mark.usefixtures("possible")
def test_both_are_measured_in_the_same_places(tmp_path: Path) -> None:
    mark, file = f"{tmp_path}/both", tmp_path / "both.json"
    with nothing_left(mark):
        process = begun(*QUICK, "--against", TINY, "--json", str(file), mark=mark)
        out, _ = ended(process, 0)
        assert not homes(process.pid)
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    figures = {(one.of, one.name): one for one in report.figures}
    both = {(of, name) for of in ("ours", "other") for name in BOTH}
    assert figures.keys() == both | {("ours", "allocate-floor")}
    assert {key for key, one in figures.items() if not one.count} == {("other", "npu-gone")}
    assert figures["other", "npu-gone"].why == "never (3 s)"
    for name in BOTH:
        words = OTHERWISE.get(name, FIGURES[name])
        row = next(line for line in out.splitlines() if line.startswith(words))
        if name == "npu-gone":
            assert row.endswith(" -")
        else:
            assert float(row.split()[-1]) > 0
    assert "ours / other" in out
    assert "-m tests.sim.tiny" in out


@pytest.mark.usefixtures("possible")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo no such pool >&2; exit 3' {config}", "ended with exit code 3;.*no such pool"),
        (
            "sh -c 'echo waits; exec sleep 600' {config}",
            "0 of 48 devices are listed after 2 s.*waits",
        ),
    ],
    ids=["exits", "never registers"],
)
def test_a_plugin_that_does_not_serve_is_told(tmp_path: Path, command: str, said: str) -> None:
    mark = f"{tmp_path}/bad"
    with nothing_left(mark):
        process = begun(*QUICK, "--patience", "2", "--against", command, mark=mark)
        out, error = ended(process, 1)
        assert not homes(process.pid)
    assert not out
    told = " ".join(error.split())
    assert "Traceback" not in told
    assert re.search(said, told), told


@pytest.mark.usefixtures("possible")
def test_nothing_outlives_a_bench_that_is_killed(tmp_path: Path) -> None:
    mark = f"{tmp_path}/killed"
    with nothing_left(mark), begun("--size", "small", "--against", TINY, mark=mark) as process:
        end = monotonic() + 60
        while not any(is_tiny(pid) for pid in processes.marked(mark)):
            assert monotonic() < end, "the other plugin does not run"
            sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for home in homes(process.pid):
            shutil.rmtree(home)


def is_tiny(pid: int) -> bool:
    try:
        return b"tests.sim.tiny" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/plugin {config}", "/nowhere/plugin: there is no such program"),
        ("sh -c true", "has no {config}"),
        ("sh -c 'true {config}", "No closing quotation"),
    ],
)
def test_a_command_that_can_not_be_run_is_told(command: str, said: str) -> None:
    out, error = ended(begun(*QUICK, "--against", command), 2)
    assert said in error
    assert len(error.splitlines()) == 1
    assert not out


def test_it_is_said_that_root_is_needed() -> None:
    user = os.geteuid()
    if user == 0:
        try:
            os.seteuid(65534)
        except OSError as error:
            pytest.skip(f"root that can't be anybody else: {error.strerror}")
    try:
        with pytest.raises(against.NotPossible, match="needs root"):
            against.command("sh {config}", ("start",))
    finally:
        os.seteuid(user)

"""How a status looks: golden text for a pipe, and sense on any terminal."""

import io
from pathlib import Path
from typing import TextIO

import msgspec
import pytest
from rich.console import Console

from rbln_supervisor.core.control.protocol import RescanReply
from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.matching.plan import Plan, PoolPlan
from rbln_supervisor.core.status import (
    CounterName,
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.ctl import (
    explain_command,
    reload_command,
    rendering,
    rescan_command,
    status_command,
    text,
)
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.problem import Code, make_problem

NOW = 1_764_000_000.0
NODE = NodeStatus(
    SupervisorStatus(
        4711,
        "0.1.0",
        11523.4,
        ready=False,
        problems=(
            make_problem(
                Code.DEVICE_UNREADABLE, "0000:5e:00.0: config can't be read: Input/output error"
            ),
        ),
        counters={CounterName.WORKER_FRAMES_UNREADABLE: 3, CounterName.UEVENTS_LOST: 1},
    ),
    {
        "rebellions.ai/ATOM": PoolStatus(
            "serving",
            registered=True,
            registration="plugin-watcher",
            reason="",
            endpoint="rebellions.ai_ATOM-ab12.sock",
            worker=WorkerStatus(4720, last_log=("an old line",)),
            devices={
                "0000:3b:00.0": DeviceStatus("Healthy", "", 0),
                "10000:3c:00.0": DeviceStatus(
                    "Unhealthy",
                    "its status is FAULT (3)",
                    1,
                    HealthPhase.UNHEALTHY,
                    "npu-status",
                    NOW - 12.3,
                    ("its PCIe link runs at 16.0 GT/s x8,\x1b it can do 32.0 GT/s x16",),
                ),
                "10000:3d:00.0": DeviceStatus(
                    "Healthy", "\x1b[31mno answer", 1, HealthPhase.UNKNOWN, "files", NOW - 3700
                ),
                "10000:3e:00.0": DeviceStatus("Unhealthy", "unplugged", None),
            },
        ),
        "rebellions.ai/ATOM_VM": PoolStatus(
            "backoff",
            registered=False,
            registration=None,
            reason="",
            endpoint=None,
            worker=WorkerStatus(
                None, 7, "killed by SIGKILL 12 s ago", ("\x1b[31mTraceback", "[b]boom"), 3.21
            ),
            devices={"0000:40:00.0": DeviceStatus("Healthy", "", None)},
        ),
        "resourceList[2]": PoolStatus(
            "invalid",
            registered=False,
            registration=None,
            reason="resourceList[2].selectors[0].vendors: expected array, got string",
            endpoint=None,
            worker=WorkerStatus(),
            devices={},
        ),
    },
)

GOLDEN = """\
rbln-supervisor 0.1.0  pid 4711  up 3 h 12 min  ● not ready

RESOURCE               STATE    DEVICES  VIA             WORKER  RESTARTS  NOTE
rebellions.ai/ATOM     serving      2/4  plugin-watcher    4720         0
rebellions.ai/ATOM_VM  backoff      1/1  -                    -         7  starts again in 3.2 s; \
last exit: killed by SIGKILL 12 s ago
resourceList[2]        invalid      0/0  -                    -         0  \
resourceList[2].selectors[0].vendors: expected array, got string

rebellions.ai/ATOM  4 devices
  DEVICE         HEALTH             NUMA  SINCE          REASON
  0000:3b:00.0   Healthy               0
  10000:3c:00.0  Unhealthy             1  12 s ago       npu-status: its status is FAULT (3)
                                                         warning: its PCIe link runs at \
16.0 GT/s x8,\\x1b it can do 32.0 GT/s x16
  10000:3d:00.0  Healthy (unknown)     1  1 h 1 min ago  files: \\x1b[31mno answer
  10000:3e:00.0  Unhealthy             -                 unplugged

rebellions.ai/ATOM_VM  1 device
  DEVICE         HEALTH     NUMA  REASON
  0000:40:00.0   Healthy       -

Problems
  0000:5e:00.0: config can't be read: Input/output error

Last log lines of rebellions.ai/ATOM_VM
  \\x1b[31mTraceback
  [b]boom

Counters
  uevents-lost  1
  worker-frames-unreadable  3
"""


@pytest.fixture(autouse=True)
def no_wishes_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def written(status: NodeStatus, stream: TextIO) -> str:
    return rendering.render_text(
        lambda columns: status_command.status_page(status, columns, NOW), stream
    )


def terminal(columns: int) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system="standard", width=columns, markup=False
    )
    console.print(status_command.status_page(NODE, columns, NOW))
    return stream.getvalue()


def test_a_pipe_gets_whole_lines_without_colours() -> None:
    assert written(NODE, io.StringIO()) == GOLDEN


def test_a_file_gets_the_same(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        assert written(NODE, stream) == GOLDEN


def test_a_terminal_gets_colours() -> None:
    page = terminal(160)
    assert "\x1b[32mserving" in page
    assert "\x1b[31mbackoff" in page
    assert "\x1b[1;31minvalid" in page
    assert "\x1b[33m● not ready" in page
    assert "─" in page
    assert "\x1b[31mTraceback" not in page


@pytest.mark.parametrize("columns", [1, 10, 40, 60, 80, 89, 90, 120, 200])
def test_no_terminal_is_too_narrow(columns: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=columns, markup=False).print(
        status_command.status_page(NODE, columns, NOW)
    )
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= columns for line in lines)
    if columns >= 40:
        text = "".join("".join(lines).split())
        assert "Unhealthy" in text
        assert "resourceList[2]" in text


def test_a_narrow_terminal_keeps_the_note() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, markup=False).print(status_command.status_page(NODE, 80, NOW))
    text = stream.getvalue()
    assert "VIA" not in text
    assert "rebellions.ai/ATOM_VM   backoff" in text
    assert "killed by" in text


def test_a_node_without_pools() -> None:
    status = NodeStatus(SupervisorStatus(1, "0.1.0", 0.2, ready=True), {})
    assert written(status, io.StringIO()) == ("rbln-supervisor 0.1.0  pid 1  up 0 s  ● ready\n")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (90061, "1 d 1 h"),
        (8640000, "100 d 0 h"),
    ],
)
def test_a_duration_has_two_units(seconds: float, shown: str) -> None:
    assert text.duration_text(seconds) == shown


def test_results_without_changes() -> None:
    assert reload_command.reload_sentence(Plan({PoolName("a/b"): PoolPlan("unchanged")})) == (
        "reloaded: nothing changed, 1 pool as before"
    )
    assert (
        rescan_command.rescan_text(RescanReply(1)) == "rescanned: 1 PCI function, no pool changed"
    )


def test_no_text_steers_a_terminal() -> None:
    assert text.plain("ä € 字 \x1b]0;x\x07\n\u202e") == "ä € 字 \\x1b]0;x\\x07\\n\\u202e"


def test_an_explanation_says_how_the_device_is() -> None:
    sick = NODE.pools["rebellions.ai/ATOM"].devices["10000:3c:00.0"]
    told = Explanation(DeviceId("10000:3c:00.0"), "accelerator", PoolName("x.io/a"), 0, health=sick)
    page = rendering.render_text(
        lambda columns: explain_command.explain_page(told, columns, NOW), io.StringIO()
    )
    assert page.splitlines() == [
        "10000:3c:00.0  accelerator  in pool x.io/a, by selectors[0]",
        "  Unhealthy  npu-status: its status is FAULT (3)  12 s ago",
        "  warning: its PCIe link runs at 16.0 GT/s x8,\\x1b it can do 32.0 GT/s x16",
        "",
        "next: rbln-ctl events --device 10000:3c:00.0; rbln-ctl doctor",
    ]
    well = msgspec.structs.replace(told, health=DeviceStatus("Healthy", "", 1))
    page = rendering.render_text(
        lambda columns: explain_command.explain_page(well, columns, NOW), io.StringIO()
    )
    assert page.splitlines()[1:] == [
        "  Healthy",
        "",
        "next: nothing to fix: pods request it as x.io/a; kubectl describe node",
    ]

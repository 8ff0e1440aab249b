"""What people see on a terminal of 80 and of 120 columns, letter by letter.

After a change that is meant: GOLDEN=write scripts/test tests/unit/test_ctl_golden.py, and look at
what git says.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.ctl import doctor_command, events_command, status_command
from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import Event
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code, make_problem

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_764_000_000.0
NPU = DeviceId("0000:22:00.0")

EVENTS = (
    Event(NOW - 90, "supervisor", "started", why="version 0.1.0, pid 7"),
    Event(NOW - 89.5, "registration", "registered", "rebellions.ai/ATOM", source="kubelet-sock"),
    Event(NOW - 89, "pool", "serving", "rebellions.ai/ATOM"),
    Event(
        *(NOW - 12.25, "device", "Unhealthy", "rebellions.ai/ATOM", "0000:21:00.0"),
        source="npu-status",
        why="its status is FAULT (3)\x1b[2J",
    ),
    Event(NOW - 3, "worker", "died", "rebellions.ai/ATOM", why="killed by SIGKILL"),
    Event(NOW, "reload", "refused", why="resourceList: expected array, got number"),
    Event(float("1e300"), "kubelet", "gone"),
)
PROBLEMS = (
    make_problem(
        Code.POOL_EMPTY,
        "no device on this node matches its selectors",
        "rebellions.ai/ATOM_VM",
        (
            "6 devices of type accelerator on the node",
            "selectors[0].drivers rejects 4: expected vfio-pci, the first has rebellions\x1b",
        ),
    ),
    make_problem(Code.CONFIG_WARNING, "a comma", "/etc/pcidp/config.json"),
)
STATUS = NodeStatus(
    SupervisorStatus(
        4711,
        "0.1.0",
        75.5,
        ready=False,
        problems=(make_problem(Code.KUBELET_SOCK_MISSING, "no kubelet: x is not there"),),
    ),
    {
        "rebellions.ai/ATOM": PoolStatus(
            "waiting",
            registered=False,
            registration="kubelet-sock",
            reason="no kubelet.sock: waiting for the kubelet",
            endpoint=None,
            worker=WorkerStatus(4720, 2, "killed by SIGKILL 12 s ago"),
            devices={
                "0000:20:00.0": DeviceStatus("Healthy", "", 0),
                "0000:21:00.0": DeviceStatus(
                    "Unhealthy",
                    "its status is FAULT (3)",
                    1,
                    HealthPhase.UNHEALTHY,
                    "npu-status",
                    NOW - 12,
                ),
            },
        ),
        "rebellions.ai/npu": PoolStatus(
            "serving",
            registered=True,
            registration="plugin-watcher",
            reason="",
            endpoint="x.sock",
            worker=WorkerStatus(4721),
            devices={
                "0000:22:00.0": DeviceStatus(
                    *("Healthy", "", 0),
                    pods=(PodUse("ml", "a-0", "", "", NOW, PodSource.CLAIMS, "ml/npus-x\x1b"),),
                ),
            },
            driver="npu.rebellions.ai",
            claims=(
                PreparedClaim("u", "ml", "npus-x\x1b", (NPU,), ("ml/a-0",), NOW - 70),
                PreparedClaim("v", "ops", "see", (NPU,), admin=True),
            ),
        ),
    },
)

PAGES: dict[str, Callable[[int], RenderableType]] = {
    "status": lambda columns: status_command.status_page(STATUS, columns, NOW),
    "events": lambda columns: events_command.events_page(EVENTS, columns),
    "doctor": lambda _: doctor_command.doctor_page(PROBLEMS, "nobody listens"),
    "well": lambda _: doctor_command.doctor_page((), None),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, columns: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=columns, markup=False, highlight=False, emoji=False)
    console.print(PAGES[name](columns))
    shown = "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
    path = GOLDEN / f"{name}-{columns}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown)
    assert shown == path.read_text()
    assert "\x1b" not in shown
    assert all(len(line) <= columns for line in shown.splitlines())

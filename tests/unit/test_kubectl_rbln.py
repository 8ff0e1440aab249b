"""kubectl rbln: the pods to ask, the rows of several nodes, and the exit code of all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.ctl.command import Exit
from rbln_supervisor.ctl.doctor_command import DoctorReport
from rbln_supervisor.ctl.events_command import EventsReport
from rbln_supervisor.kubectl import tables
from rbln_supervisor.kubectl.main import exit_code
from rbln_supervisor.kubectl.nodes import (
    NodeResult,
    PluginPod,
    choose_pods,
    node_names,
    plugin_pods,
    read_result,
)
from rbln_worker.contract.events import Event
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code, Severity, make_problem
from tests.sim.stack import REPOSITORY

ATOM = "rebellions.ai/ATOM"


def pod(name: str, node: str, at: str, **more: object) -> dict[str, object]:
    status = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
    metadata = {"name": name, "namespace": "kube-system", "creationTimestamp": at}
    return {
        "metadata": metadata | dict(more.pop("metadata", {})),  # type: ignore[call-overload]
        "spec": {"nodeName": node},
        "status": status | more,
    }


def chosen(*pods: dict[str, object]) -> dict[str, PluginPod]:
    return dict(plugin_pods(json.dumps({"kind": "List", "items": pods}).encode()))


# Pods


def test_in_an_update_the_newest_pod_that_runs_is_asked() -> None:
    old = pod("old", "a", "2026-11-30T07:00:00Z")
    new = pod("new", "a", "2026-11-30T08:00:00Z")
    waits = pod("waits", "a", "2026-11-30T09:00:00Z", phase="Pending")
    assert chosen(old, new, waits)["a"] == PluginPod("kube-system", "new")
    assert chosen(waits, new, old)["a"] == PluginPod("kube-system", "new")


@pytest.mark.parametrize(
    ("one", "obstacle"),
    [
        (pod("p", "a", "1", phase="Pending"), "its pod p does not run: Pending"),
        (
            pod(
                "p",
                "a",
                "1",
                containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            ),
            "its pod p does not run: Running CrashLoopBackOff",
        ),
        (
            pod("p", "a", "1", metadata={"deletionTimestamp": "2026-11-30T07:00:00Z"}),
            "its pod p is being deleted",
        ),
        (pod("p", "a", "1", containerStatuses=[]), ""),
    ],
)
def test_a_pod_that_can_run_no_command_says_why(one: dict[str, object], obstacle: str) -> None:
    assert chosen(one)["a"].obstacle == obstacle


def test_a_pod_without_a_node_is_nobodys() -> None:
    assert chosen(pod("p", "", "1")) == {}


def test_wanted_nodes_without_a_pod_are_kept() -> None:
    pods = chosen(pod("p", "b", "1"), pod("q", "a", "1"))
    assert list(choose_pods(pods, None)) == ["a", "b"]
    assert choose_pods(pods, ["b", "c"]) == {"b": pods["b"], "c": None}


def test_names_of_nodes() -> None:
    raw = json.dumps({"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]})
    assert node_names(raw.encode()) == {"a", "b"}


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(msgspec.json.encode))
def test_any_bytes_are_a_list_or_refused(raw: bytes) -> None:
    for read in (plugin_pods, node_names):
        try:
            read(raw)
        except msgspec.MsgspecError:
            continue


# Rows


def text(table: RenderableType) -> list[list[str]]:
    console = Console(width=1000, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def node(*, healthy: int, unhealthy: int, held: int) -> NodeStatus:
    use = PodUse("ml", "train", "main", "1", 0.0, PodSource.POD_RESOURCES)
    devices = {
        f"d{number}": DeviceStatus(
            "Healthy" if number < healthy else "Unhealthy",
            "" if number < healthy else "unplugged",
            None,
            pods=(use,) if number < held else (),
        )
        for number in range(healthy + unhealthy)
    }
    pool = PoolStatus("serving", True, None, "", None, WorkerStatus(), devices)  # noqa: FBT003
    return NodeStatus(SupervisorStatus(1, "1", 1.0, ready=True), {ATOM: pool})


def test_top_has_the_fullest_node_first_and_a_sum() -> None:
    rows = text(
        tables.top_table(
            {
                "a": node(healthy=4, unhealthy=0, held=1),
                "b": node(healthy=1, unhealthy=1, held=2),
            },
            1000,
        )
    )
    assert rows[1:] == [
        ["b", ATOM, "2", "1", "2", "0", "1"],
        ["a", ATOM, "4", "4", "1", "3", "0"],
        ["all", "nodes", ATOM, "6", "5", "3", "3", "1"],
    ]


def test_devices_of_all_nodes_or_unhealthy_ones() -> None:
    results = {"a": node(healthy=1, unhealthy=1, held=1)}
    rows = text(tables.device_table(results, 1000, 10.0, unhealthy=False))
    assert rows[1:] == [
        ["a", ATOM, "d0", "Healthy", "ml/train"],
        ["a", ATOM, "d1", "Unhealthy", "-", "unplugged"],
    ]
    rows = text(tables.device_table(results, 1000, 10.0, unhealthy=True))
    assert [row[2] for row in rows[1:]] == ["d1"]


def test_one_finding_of_many_nodes_is_one_row() -> None:
    wrong = make_problem(Code.SUPERVISOR_DOWN, "it is down")
    other = make_problem(Code.IOMMU_OFF, "no IOMMU", severity=Severity.NOTE)
    report = DoctorReport(ok=False, version="1", unreachable=None, problems=(other, wrong))
    results = {f"n{number}": report for number in range(5)}
    rows = text(tables.problem_table(results, 1000))
    assert " ".join(rows[1]).startswith("n0, n1, n2 and 2 more error supervisor-down")
    assert [row[7] for row in (rows[1], rows[3])] == ["supervisor-down", "iommu-off"]


def test_events_are_in_the_order_of_time() -> None:
    def told(*at: float) -> EventsReport:
        return EventsReport(tuple(Event(one, "pool", "serving", ATOM) for one in at))

    rows = text(tables.event_table({"a": told(1.0, 3.0), "b": told(2.0)}, 1000))
    assert [row[2] for row in rows[1:]] == ["a", "b", "a"]


# Answers


@pytest.mark.parametrize(
    ("output", "has_result", "problem"),
    [
        (b'{"pools": {}}', True, ""),
        (
            b'{"type": "refused", "errors": ["no such device", "try lspci"]}',
            False,
            "no such device; try lspci",
        ),
        (b'{"type": "refused"}', True, ""),
        (b"", False, "the last line"),
        (b"{", False, "the last line"),
        (b"\xff", False, "the last line"),
    ],
)
def test_output_is_an_answer_or_names_the_errors(
    output: bytes, *, has_result: bool, problem: str
) -> None:
    read = read_result(NodeResult("a", problem="the last line"), output)
    assert (read.result is not None, read.problem) == (has_result, problem)


# The end


@pytest.mark.parametrize(
    ("codes", "any_knows", "expected"),
    [
        ((0, 0), False, 0),
        ((0, 1), False, 1),
        ((0, 1), True, 0),
        ((1, 1), True, 1),
        ((0, 3), True, 3),
        ((1, 3), False, 3),
        ((2, 3), False, 2),
    ],
)
def test_one_exit_code_for_all_nodes(
    codes: tuple[int, ...], *, any_knows: bool, expected: int
) -> None:
    results = [NodeResult(str(number), exit_code=code) for number, code in enumerate(codes)]
    assert exit_code(results, any_knows=any_knows) == expected


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "kubectl is not in PATH"),
        ("exit 1", "kubectl get failed with exit code 1"),
        ("echo Error: no cluster >&2; exit 1", "no cluster"),
        ("echo '{\"items\": 7}'", "kubectl printed no list of objects"),
        ("echo '{\"items\": []}'", "no pod of the device plugin"),
        ("sleep 60", "no answer within 1 s"),
    ],
)
def test_a_kubectl_that_fails_is_said(tmp_path: Path, script: str | None, says: str) -> None:
    if script is not None:
        kubectl = tmp_path / "kubectl"
        kubectl.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        kubectl.chmod(0o755)
    done = subprocess.run(
        (sys.executable, "-m", "rbln_supervisor.kubectl.main", "status", "--timeout", "1"),
        cwd=REPOSITORY,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (Exit.UNREACHABLE, "")
    assert says in done.stderr

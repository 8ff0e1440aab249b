"""The worker of a DRA pool dies at each step of a prepare and of an unprepare.

``scripts/e2e cluster tests/e2e/cluster/dra/kill_steps.py`` takes some ten minutes, because the
supervisor waits longer after each death of the same worker. strace(1) counts the system calls of
the worker that change files, and sends SIGKILL at the first one, in the next turn at the second
one, until an operation is completed before. tests/system/test_claim_steps.py does the same with
the records alone, in seconds.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e import packages
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.conftest import make_report
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import ClaimPod, Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    NPU,
    device_names,
    npu_paths,
    paths_of,
    prepared_claims,
)
from tests.e2e.cluster.dra.measuring import host_pid
from tests.e2e.cluster.dra.objects import request
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container
from tests.e2e.report import Report

CALLS: Final = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir"
SPECS: Final = Path("/var/run/cdi")
MIN_STEPS: Final = 2
MAX_STEPS: Final = 40
DEADLINE_S: Final = 120.0

pytestmark = pytest.mark.timeout(1800)


def worker_pid(driver: DaemonSet) -> int:
    """The machine's number of the pool's worker, once it serves."""
    found: list[int] = []

    def serves() -> bool:
        pool = driver.status().pools[NPU]
        if pool.worker.pid is None or not pool.registered or pool.state != "serving":
            return False
        found.append(pool.worker.pid)
        return True

    wait_until(serves, what="the worker serves", within_s=DEADLINE_S)
    container = Container(driver.cluster, driver.container_status()["containerID"])
    return host_pid(container, found[-1])


@contextmanager
def killed_at(pid: int, step: int) -> Iterator[Callable[[], bool]]:
    """Kill a process at a call that changes files; the value tells whether that has happened."""
    process = Path(f"/proc/{pid}")
    began = (process / "stat").read_bytes().rpartition(b")")[2].split()[19]

    def is_killed() -> bool:
        try:
            stat = (process / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return True
        return stat[0] == b"Z" or stat[19] != began

    def is_traced() -> bool:
        return all("TracerPid:\t0" not in one.read_text() for one in process.glob("task/*/status"))

    inject = f"inject={CALLS}:signal=SIGKILL:when={step}"
    words = ("-e", f"trace={CALLS}", "-e", inject, "-o", "/dev/null", "-p", f"{pid}")
    with subprocess.Popen(("strace", "-f", "-qq", *words)) as strace:
        try:
            wait_until(is_traced, what="strace follows the worker")
            yield is_killed
        finally:
            strace.terminate()


def check_running(pod: ClaimPod, claims: Claims, node: HostNode) -> None:
    """A pod runs with the devices of its claim and no others."""
    container = pod.running(deadline_s=DEADLINE_S)
    assert npu_paths(container) == paths_of(node, claims.devices(pod.claim_name("npus")))


def check_nothing_left(driver: DaemonSet, slices: Slices) -> None:
    """No claim, no spec and no taint is left of a pod that is gone."""
    wait_until(lambda: not prepared_claims(driver), what="no claim is prepared")
    assert not [*SPECS.glob("rbln-claim-*")]
    slices.wait(lambda devices: set(devices) == device_names(), what="all are published")


@pytest.fixture(scope="module")
def kills(cluster: Cluster) -> Iterator[Report]:
    """The table of this module."""
    report = make_report()
    yield report
    report.write(cluster.places.dra_kills)


@pytest.mark.parametrize("operation", ["prepare", "unprepare"])
def test_every_step(
    driver: DaemonSet,
    claims: Claims,
    slices: Slices,
    bench: Bench,
    node: HostNode,
    kills: Report,
    operation: str,
) -> None:
    packages.ensure(["strace"], bench.cluster.places.logs / "apt.log")
    template = claims.template(request("npus", CLASS, 2))
    was_killed, step = True, 0
    while was_killed:
        step += 1
        assert step < MAX_STEPS
        pid = worker_pid(driver)
        if operation == "prepare":
            with killed_at(pid, step) as is_killed:
                pod = claims.pod(template=template)
                check_running(pod, claims, node)
                was_killed = is_killed()
            pod.delete()
        else:
            pod = claims.pod(template=template)
            check_running(pod, claims, node)
            with killed_at(pid, step) as is_killed:
                bench.cluster.api.call("DELETE", pod.path)
                wait_until(lambda: not pod.exists, what="the pod is gone", within_s=DEADLINE_S)  # noqa: B023
                was_killed = is_killed()
        worker_pid(driver)
        check_nothing_left(driver, slices)
    assert step > MIN_STEPS
    kills.add(
        f"the worker is killed at each of {step - 1} steps of {operation}",
        "the kubelet asks again: the pod had its 2 NPUs and no others; no claim, no spec is left",
    )

"""Devices that fail: taints steer new pods away, evict, and the pod's status says why."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from rbln_supervisor.core.status import CounterName
from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import ClaimPod, Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    DRIVER,
    NPU,
    both_exports,
    configure,
    npu_paths,
)
from tests.e2e.cluster.dra.objects import request
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.setting import at_least

pytestmark = pytest.mark.skipif(
    not at_least(36), reason="taints and the health in pods are off before 1.36"
)
TAINT: Final = f"{DRIVER}/unhealthy"
ALL: Final = 4


@pytest.fixture
def intact(node: HostNode) -> Iterator[HostNode]:
    """The node; its NPUs' device nodes are back after the test."""
    yield node
    for name in (f"rbln{number}" for number in range(ALL)):
        if not Path("/dev", name).exists():
            node.add_dev_node(name)


def taints(devices: Mapping[str, Object]) -> dict[str, list[str]]:
    """The effects of the taints of each device that has any."""
    return {
        name: [taint["effect"] for taint in device["taints"] if taint["key"] == TAINT]
        for name, device in devices.items()
        if device.get("taints")
    }


def device_of(node: HostNode, name: str) -> str:
    """The name in slices of the NPU rblnN."""
    (bdf,) = (bdf for bdf, device in node.devices.items() if device.rbln == name)
    return bdf.replace(":", "-").replace(".", "-")


def pod_health(pod: ClaimPod, health: str) -> Object | None:
    """The first of its devices with this health in the pod's status."""
    return next((one for one in pod.device_health() if one.get("health") == health), None)


def test_a_faulty_device_gets_no_new_pods_until_it_is_well_again(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, intact: HostNode
) -> None:
    holder = claims.pod(template=claims.template(request("npus", CLASS, 2)))
    container = holder.running()
    (path,) = sorted(npu_paths(container))[:1]
    name = path.removeprefix("/dev/")
    with bench.untouched(container):
        began = monotonic()
        intact.remove_dev_node(name)
        slices.wait(
            lambda devices: taints(devices) == {device_of(intact, name): ["NoSchedule"]},
            what="the device is tainted",
        )
        tainted = monotonic() - began
        wait_until(lambda: pod_health(holder, "Unhealthy"), what="the pod's status says Unhealthy")
        said = monotonic() - began
        unhealthy = pod_health(holder, "Unhealthy")
        waiting = claims.pod(template=claims.template(request("npus", CLASS, 3)))
        assert "cannot allocate all claims" in waiting.unplaced()
        waiting.delete()
        began = monotonic()
        intact.add_dev_node(name)
        slices.wait(lambda devices: not taints(devices), what="the taint is gone")
        recovered = monotonic() - began
        wait_until(
            lambda: not pod_health(holder, "Unhealthy"), what="the pod's status says Healthy"
        )
    assert unhealthy is not None
    holder.delete()
    claims.pod(template=claims.template(request("npus", CLASS, ALL))).running()
    bench.report.add(
        "an NPU's node in /dev is removed",
        f"NoSchedule taint, and in the pod's status after {said:.2f} s: "
        f"{unhealthy.get('message', 'no message')}; new pods wait",
        tainted,
    )
    bench.report.add("… and made again", "no taint any more; a pod gets all 4", recovered)


def test_a_fault_that_evicts_does_so(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, intact: HostNode
) -> None:
    reloads = driver.status().supervisor.counters.get(CounterName.RELOADS, 0)
    configure(driver, both_exports(evict_on=["node"]))
    driver.wait(
        lambda: driver.status().supervisor.counters.get(CounterName.RELOADS, 0) > reloads,
        what="the configuration is read",
    )
    try:
        pod = claims.pod(template=claims.template(request("npus", CLASS, ALL)))
        pod.running()
        began = monotonic()
        intact.remove_dev_node("rbln3")
        slices.wait(
            lambda devices: taints(devices) == {device_of(intact, "rbln3"): ["NoExecute"]},
            what="the device evicts",
        )
        wait_until(lambda: not pod.exists, what="the pod is evicted")
        seconds = monotonic() - began
        intact.add_dev_node("rbln3")
        slices.wait(lambda devices: not taints(devices), what="the taint is gone")
    finally:
        configure(driver, both_exports())
    bench.report.add("a fault of evictOn", "NoExecute: the pod is evicted", seconds)


def test_health_that_nobody_reports_any_more_is_unknown(
    driver: DaemonSet, claims: Claims, bench: Bench
) -> None:
    """The supervisor hangs, too: it would replace a worker that does."""
    pod = claims.pod(template=claims.template(request("npus", CLASS)))
    container = pod.running()
    wait_until(lambda: pod_health(pod, "Healthy"), what="the pod's status says Healthy")
    status = driver.status()
    both = f"{status.supervisor.pid} {status.pools[NPU].worker.pid}"
    began = monotonic()
    assert driver.run("sh", "-c", f"kill -STOP {both}").returncode == 0
    try:
        with bench.untouched(container):
            wait_until(lambda: pod_health(pod, "Unknown"), what="the pod's status says Unknown")
            seconds = monotonic() - began
    finally:
        driver.run("sh", "-c", f"kill -CONT {both}")
    wait_until(lambda: pod_health(pod, "Healthy"), what="the pod's status says Healthy again")
    bench.report.add(
        "supervisor and DRA worker hang (SIGSTOP)", "the pod's devices become Unknown", seconds
    )

"""Figures of a pool that is exported by DRA, beside a device-plugin pool and Kubernetes' Go driver.

``scripts/e2e cluster tests/e2e/cluster/dra/figures.py`` measures all in one run, on one cluster,
and writes docs/measured/dra.md. It takes some eight minutes; RBLN_E2E_ROUNDS=2 shows that it works.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra import go_driver, measuring, objects
from tests.e2e.cluster.dra.claims import ClaimPod, Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    DRIVER,
    NPU,
    dra_overlay,
    npu_paths,
)
from tests.e2e.cluster.dra.measuring import Use, p50, p99, time_to_run, wait_soon
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container
from tests.e2e.cluster.setting import kubernetes_version, pinned_version
from tests.sim.device import SimDevice
from tests.system.scene import ATOM, ATOMS, config, pool

PAGE: Final = Path(__file__).parents[4] / "docs/measured/dra.md"
ROUNDS: Final = int(os.environ.get("RBLN_E2E_ROUNDS", "12"))
FAULTS: Final = 2
"""Faults of each NPU: the next ones would be on a longer probation."""
MORE: Final = 8
"""Further NPUs of the DRA pool, so that there are more faults without a probation."""
IDLE_S: Final = 5.0 * ROUNDS
STORM: Final = 100
PLUGIN_NPUS: Final = ATOMS[:2]
"""Those that the device-plugin pool has; the DRA pool has all others."""
GO_RESOURCE: Final = "example.com/go-device"


class Figures:
    """Rows of the page."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []

    def add(self, what: str, ours: str, *, plugin: str = "", go: str = "", reach: str = "") -> None:
        """Add a row."""
        self._rows.append((what, ours, plugin, go, reach))
        print(f"FIGURE {what}: {ours} | plugin {plugin} | go {go} | to reach {reach}")

    def write(self) -> None:
        """Write the page."""
        containerd = pinned_version("runtime", "github.com/containerd/containerd/v2")
        head = ("", "DRA", "device plugin", "Go driver", "to reach")
        rows = [head, ("---",) * len(head), *self._rows]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        PAGE.write_text(
            "# Pools that are exported by DRA\n\nMeasured in one run of\n"
            "`scripts/e2e cluster tests/e2e/cluster/dra/figures.py` on two cores: Kubernetes "
            f"{kubernetes_version()}, containerd {containerd}.\n*DRA* is the pool {NPU}, *device "
            f"plugin* the pool {ATOM}\nof the same DaemonSet, *Go driver* Kubernetes' own test "
            "driver (client-go and its kubeletplugin\nhelper), on the host. Times of pods are "
            "medians of "
            f"{ROUNDS}, in turn, from their creation to a running\ncontainer in their status.\n\n"
            f"{table}\n"
        )


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """The page; written at the end if all was measured."""
    page = Figures()
    yield page
    if not request.session.testsfailed:
        page.write()


@pytest.fixture(scope="module")
def driver(cluster: Cluster, kubectl: Kubectl, node: HostNode) -> Iterator[DaemonSet]:
    """The DaemonSet of overlays/dra with NPUs in a pool of each export."""
    daemonset = DaemonSet(cluster, kubectl)
    more = further_npus(1, MORE)
    node.add(*more)
    npus: Object = {"export": "dra", "dra": {"driverName": DRIVER}}
    folder = dra_overlay(
        cluster.places.state / "figures",
        config(
            pool("ATOM", pciAddresses=[*PLUGIN_NPUS]),
            {**pool("npu", drivers=["rebellions"]), **npus},
        ),
    )
    daemonset.wait_ready(since=daemonset.apply(folder))
    yield daemonset
    daemonset.remove()
    for one in more:
        node.remove(one.bdf)


def further_npus(domain: int, count: int) -> list[SimDevice]:
    return [
        SimDevice(
            f"{domain:04x}:{number:02x}:00.0", device="1220", rbln=f"rbln{100 * domain + number}"
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def go_pid(cluster: Cluster) -> Iterator[int]:
    """The Go driver with more devices than the storm has pods; its pid."""
    with go_driver.running(cluster, devices=STORM + 4) as pid:
        yield pid


@contextmanager
def without_node(node: HostNode, name: str) -> Iterator[None]:
    """A device node is missing until the end of the block."""
    node.remove_dev_node(name)
    try:
        yield
    finally:
        node.add_dev_node(name)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def test_slices_are_there_soon_after_the_start(
    driver: DaemonSet, slices: Slices, cluster: Cluster, figures: Figures, bench: Bench
) -> None:
    driver.remove()
    wait_until(lambda: not slices.read(), what="the slices are gone", within_s=60.0)
    driver.apply(cluster.places.state / "figures")
    wait_soon(lambda: len(slices.devices()) == MORE + 2, what="slices are there")
    seen = monotonic()
    driver.wait_ready(since=seen)
    container = Container(cluster, driver.container_status()["containerID"])
    worker = driver.status().pools[NPU].worker.pid
    assert worker is not None
    of_worker = measuring.started_at(measuring.host_pid(container, worker))
    ours = seen - measuring.started_at(container.pid)
    with go_driver.running(bench.cluster, devices=4) as pid:
        go_slices = Slices(bench.cluster, go_driver.DRIVER)
        wait_soon(lambda: len(go_slices.devices()) == 4, what="the Go driver's slices")
        go = monotonic() - measuring.started_at(pid)
    go_slices.delete()
    figures.add(
        "slices after the start of the worker, of the container (of the process)",
        f"{seen - of_worker:.2f} s, {ours:.2f} s",
        go=f"{go:.2f} s",
        reach="≤ 1 s",
    )


def test_pods_side_by_side(
    driver: DaemonSet, claims: Claims, cluster: Cluster, go_pid: int, figures: Figures
) -> None:
    go_class = claims.device_class(go_driver.DRIVER, extended_resource=GO_RESOURCE)
    template = claims.template(objects.request("npus", CLASS, 2))
    go_template = claims.template(objects.request("devices", go_class, 2))
    ways: dict[str, Callable[[], ClaimPod]] = {
        "plugin": lambda: claims.pod(limits={ATOM: 2}),
        "claim": lambda: claims.pod(template=template),
        "extended": lambda: claims.pod(limits={NPU: 2}),
        "go claim": lambda: claims.pod(template=go_template),
        "go extended": lambda: claims.pod(limits={GO_RESOURCE: 2}),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    spent: dict[tuple[str, str], list[float]] = {}
    methods = [
        (name, method)
        for name in (DRIVER, go_driver.DRIVER)
        for method in ("NodePrepareResources", "NodeUnprepareResources")
    ]
    for number in range(ROUNDS + 1):
        for way, make in ways.items():
            before = {key: measuring.dra_calls(cluster, *key) for key in methods}
            pod, took = time_to_run(make)
            pod.delete()
            if number == 0:
                continue  # the first of each warms caches
            times[way].append(took)
            for key in methods:
                duration = measuring.dra_calls(cluster, *key).since(before[key])
                if duration is not None:
                    spent.setdefault(key, []).append(duration)
    seconds = {way: p50(values) for way, values in times.items()}
    figures.add(
        "pod with two devices runs: claim from a template",
        f"{seconds['claim']:.3f} s",
        plugin=f"{seconds['plugin']:.3f} s",
        go=f"{seconds['go claim']:.3f} s",
        reach="≤ 0.05 s more than the device plugin's",
    )
    figures.add(
        "… the extended resource of its DeviceClass",
        f"{seconds['extended']:.3f} s",
        go=f"{seconds['go extended']:.3f} s",
    )
    for method in ("NodePrepareResources", "NodeUnprepareResources"):
        ours, go = spent[DRIVER, method], spent[go_driver.DRIVER, method]
        figures.add(
            f"{method} of two devices, by the kubelet: p50 (max)",
            f"{milliseconds(p50(ours))} ({milliseconds(max(ours))})",
            go=f"{milliseconds(p50(go))} ({milliseconds(max(go))})",
            reach="p50 ≤ 8 ms" if method == "NodePrepareResources" else "",
        )


def test_a_fault_is_in_slice_and_pod_soon(
    driver: DaemonSet, claims: Claims, slices: Slices, node: HostNode, figures: Figures
) -> None:
    pod = claims.pod(template=claims.template(objects.request("npus", CLASS, MORE + 2)))
    names = sorted(path.removeprefix("/dev/") for path in npu_paths(pod.running()))
    in_slice: list[float] = []
    in_pod: list[float] = []

    def tainted() -> int:
        return sum(bool(one.get("taints")) for one in slices.devices().values())

    def unhealthy() -> int:
        return sum(one.get("health") == "Unhealthy" for one in pod.device_health())

    for name in names * FAULTS:
        with without_node(node, name):
            began = monotonic()
            wait_soon(tainted, what="the device is tainted")
            in_slice.append(monotonic() - began)
            wait_soon(unhealthy, what="the pod's status says Unhealthy")
            in_pod.append(monotonic() - began)
        wait_soon(lambda: not tainted(), what="the taint is gone")
        wait_soon(lambda: not unhealthy(), what="the pod's status says Healthy")
    figures.add(
        f"device node removed → taint in the slice: p50 (max of {len(in_slice)})",
        f"{milliseconds(p50(in_slice))} ({milliseconds(p99(in_slice))})",
        reach="≤ 300 ms",
    )
    figures.add(
        "… → Unhealthy in the pod's status: p50 (max)",
        f"{milliseconds(p50(in_pod))} ({milliseconds(p99(in_pod))})",
        reach="≤ 300 ms",
    )


def test_memory_and_idle(
    driver: DaemonSet, cluster: Cluster, go_pid: int, figures: Figures
) -> None:
    container = Container(cluster, driver.container_status()["containerID"])
    workers = {name: pool.worker.pid for name, pool in driver.status().pools.items()}
    pids = []
    for name in (NPU, ATOM):
        number = workers[name]
        assert number is not None
        pids.append(measuring.host_pid(container, number))
    shares = measuring.share_of_core([*pids, go_pid], IDLE_S)
    ours, plugin, go = (Use.of_process(pid) for pid in (*pids, go_pid))
    figures.add(
        "private memory of a worker (the driver)",
        f"{ours.private_mib:.1f} MiB",
        plugin=f"{plugin.private_mib:.1f} MiB",
        go=f"{go.private_mib:.1f} MiB",
        reach="≤ 25 MiB",
    )
    figures.add(
        "resident memory",
        f"{ours.resident_mib:.1f} MiB",
        plugin=f"{plugin.resident_mib:.1f} MiB",
        go=f"{go.resident_mib:.1f} MiB",
        reach="below the Go driver's",
    )
    figures.add(
        f"idle for {IDLE_S:.0f} s, share of a core",
        f"{shares[0]:.3f} %",
        plugin=f"{shares[1]:.3f} %",
        go=f"{shares[2]:.3f} %",
        reach="≤ 0.1 % more than the device plugin's",
    )


@pytest.fixture
def many(node: HostNode, driver: DaemonSet, slices: Slices) -> Iterator[None]:
    """NPUs for the storm. They are gone after it, but tainted in the slices for minutes."""
    more = further_npus(2, STORM)
    node.add(*more)
    driver.ctl("rescan")
    slices.wait(lambda devices: len(devices) == STORM + MORE + 2, what="all are published")
    yield
    for one in more:
        node.remove(one.bdf)


def storm(claims: Claims, template: str) -> float:
    """Seconds until the last of many pods, made at once, runs."""
    began = monotonic()
    with ThreadPoolExecutor(8) as threads:
        pods = list(threads.map(lambda _: claims.pod(template=template), range(STORM)))
    for pod in pods:
        pod.running(deadline_s=180.0)
    seconds = monotonic() - began
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda pod: pod.delete(), pods))
    return seconds


def test_a_storm_of_claims(
    driver: DaemonSet, claims: Claims, many: None, go_pid: int, figures: Figures
) -> None:
    go_class = claims.device_class(go_driver.DRIVER)
    go = storm(claims, claims.template(objects.request("device", go_class)))
    ours = storm(claims, claims.template(objects.request("npu", CLASS)))
    figures.add(
        f"{STORM} pods with claims at once: the last one runs",
        f"{ours:.1f} s",
        go=f"{go:.1f} s",
        reach="≤ twice the Go driver's",
    )

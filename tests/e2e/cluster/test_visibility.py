"""What the on-call engineer sees of a fault: the line of ``kubectl rbln``, the alert, how fast.

The alert rules are those of ``tests/e2e/alerts``: a second in the place of each minute.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from tests.e2e.alerts.rules import write_short_rules
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.config import LOOPBACK, free_ports
from tests.e2e.cluster.daemonset import CONFIG_MAP, DaemonSet, overlay
from tests.e2e.cluster.history import History
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.setting import NODE, Places, cache_folder, kubernetes_version
from tests.e2e.prometheus import Prometheus, server_command, write_settings
from tests.e2e.report import Table
from tests.sim.device import Rdma, SimDevice
from tests.system.scene import ATOM, ATOM_POOL, ATOMS, VM_POOL, config, pool

TIMEOUT_S: Final = 60.0
HCA: Final = SimDevice(
    bdf="0000:41:00.0",
    vendor="15b3",
    device="1017",
    code="020700",
    driver="mlx5_core",
    rdma=Rdma("mlx5_0", 0, "InfiniBand"),
)
IB: Final = "rebellions.ai/IB"
IB_POOL: Final = pool("IB", deviceType="netDevice", vendors=["15b3"])
_DRIVER: Final = "rebellions"
_POLL_S: Final = 0.1


class Scene(NamedTuple):
    """What faults are injected into, and where they are seen."""

    node: HostNode
    installed: DaemonSet
    kubectl: Kubectl
    prometheus: Prometheus
    npus: Mapping[str, SimDevice]
    """As they are before a fault."""


class Fault(NamedTuple):
    """A fault, and what has to be seen of it."""

    text: str
    inject: Callable[[Scene], object]
    mend: Callable[[Scene], object]
    code: str
    """Of a problem in ``kubectl rbln doctor``."""
    word: str
    """Of the problem's text or evidence."""
    alert: str


class Sighting(NamedTuple):
    """Something that was seen, and how many seconds after the fault."""

    text: str
    seconds: float


def _rescan(scene: Scene) -> None:
    """Stand in for the kernel's event, which a simulated device does not have."""
    scene.installed.ctl("rescan")


def _unplug(scene: Scene) -> None:
    scene.node.remove(ATOMS[3])
    _rescan(scene)


def _plug_in(scene: Scene) -> None:
    scene.node.add(scene.npus[ATOMS[3]])
    _rescan(scene)


def _unbind(*devices: str) -> Callable[[Scene], object]:
    def unbind(scene: Scene) -> None:
        for device in devices:
            scene.node.unbind(device)
        _rescan(scene)

    return unbind


def _bind(*devices: str) -> Callable[[Scene], object]:
    def bind(scene: Scene) -> None:
        for device in devices:
            scene.node.bind(device, _DRIVER)
        _rescan(scene)

    return bind


def _kill_worker_thrice(scene: Scene) -> None:
    for _ in range(3):
        before = scene.installed.status().pools[ATOM].worker.pid
        assert scene.installed.run("sh", "-c", f"kill -9 {before}").returncode == 0

        def serves_again(before: int | None = before) -> bool:
            now = scene.installed.status().pools[ATOM]
            return now.state == "serving" and now.worker.pid not in {None, before}

        scene.installed.wait(serves_again, what="another worker serves")


def _set_status(number: int) -> Callable[[Scene], object]:
    return lambda scene: scene.node.set_status("rbln2", number)


def _set_port(state: str) -> Callable[[Scene], object]:
    return lambda scene: scene.node.set_port(HCA.bdf, "mlx5_0", "state", state)


def _configure(text: str) -> Callable[[Scene], object]:
    return lambda scene: scene.installed.configure(text)


GOOD: Final = msgspec.json.encode(config(ATOM_POOL, VM_POOL, IB_POOL)).decode()

FAULTS: Final = (
    Fault(
        "an NPU in a pod is unplugged",
        _unplug,
        _plug_in,
        "device-unhealthy",
        ATOMS[3],
        "RblnDeviceUnhealthy",
    ),
    Fault(
        "an NPU reports FAULT",
        _set_status(3),
        _set_status(0),
        "device-unhealthy",
        "FAULT",
        "RblnDeviceUnhealthy",
    ),
    Fault(
        "an NPU's driver is unbound",
        _unbind(ATOMS[3]),
        _bind(ATOMS[3]),
        "driver-missing",
        ATOMS[3],
        "RblnDeviceUnhealthy",
    ),
    Fault(
        "an InfiniBand port loses its link",
        _set_port("1: DOWN\n"),
        _set_port("4: ACTIVE\n"),
        "device-unhealthy",
        HCA.bdf,
        "RblnDeviceUnhealthy",
    ),
    Fault(
        "a worker is killed three times",
        _kill_worker_thrice,
        lambda _: None,
        "worker-restarted",
        "SIGKILL",
        "RblnWorkerRestarts",
    ),
    Fault(
        "a new configuration is refused",
        _configure('{"resourceList": 3}'),
        _configure(GOOD),
        "reload-refused",
        "expected array, got number",
        "RblnReloadRefused",
    ),
    Fault(
        "the driver is missing: no NPU is bound",
        _unbind(*ATOMS),
        _bind(*ATOMS),
        "driver-missing",
        "4 devices",
        "RblnAllocatableLost",
    ),
)


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """What becomes docs/measured/visibility.md."""
    table = Table(
        f"Kubernetes {kubernetes_version()}, one node. The seconds of `kubectl rbln doctor` are "
        "those until its answer is there. A second stands for each minute of the alert rules: an "
        "alert after 11 s is one after 10 minutes and the second until the scrape.",
        *("fault", "`kubectl rbln doctor`", "after, s", "alert", "after, s", "ends, s after"),
    )
    yield table
    table.write(Places(cache_folder()).cache / "visibility.md")


@pytest.fixture(scope="module")
def scene(
    cluster: Cluster,
    uninstalled: DaemonSet,
    history: History,
    node: HostNode,
    kubectl: Kubectl,
) -> Iterator[Scene]:
    """The DaemonSet with NPUs and an InfiniBand adapter, and a Prometheus that scrapes it."""
    state = cluster.places.state
    node.add(HCA)
    folder = state / "visible"
    folder.mkdir()
    (folder / "config.json").write_text(GOOD)
    overlay(folder, base="base", configMapGenerator=[CONFIG_MAP])
    uninstalled.wait_ready(since=uninstalled.apply(folder))
    history.wait_for(IB, 1, 1)
    prometheus_folder = state / "prometheus-short"
    prometheus_folder.mkdir()
    port = free_ports().health
    rules = write_short_rules(prometheus_folder)
    targets = {NODE: f"{LOOPBACK}:9420"}
    settings = write_settings(prometheus_folder, rules, targets, scrape_s=1, evaluation_s=1)
    cluster.daemons.start("prometheus", server_command(prometheus_folder, settings, port))
    prometheus = Prometheus(port)
    prometheus.wait_for("rbln_up", 1.0)
    npus = {bdf: node.devices[bdf] for bdf in ATOMS}
    yield Scene(node, uninstalled, kubectl, prometheus, npus)
    cluster.daemons.stop("prometheus")
    node.remove(HCA.bdf)


def problems(kubectl: Kubectl) -> list[dict[str, Any]]:
    """The node's problems by ``kubectl rbln doctor``."""
    done = kubectl.tried("rbln", "doctor", "--json")
    result = json.loads(done.stdout)["nodes"][NODE]["result"] if done.stdout else None
    return list(result["problems"]) if result else []


def wait_for_problem(kubectl: Kubectl, fault: Fault, began: float) -> Sighting:
    """Wait until doctor shows a fault."""
    seen: list[dict[str, Any]] = []
    while monotonic() - began < TIMEOUT_S:
        seen = problems(kubectl)
        for one in seen:
            said = " ".join((one["text"], *one["evidence"]))
            if one["code"] == fault.code and fault.word in said:
                words = (one["severity"], one["code"], one["subject"], one["text"])
                return Sighting(" · ".join(filter(None, words)), monotonic() - began)
    raise AssertionError(f"{fault.text}: no {fault.code} with {fault.word!r}: {seen}")


def firing(prometheus: Prometheus, alert: str) -> str | None:
    """The summary of an alert that fires; None if it does not."""
    for one in prometheus.firing_alerts():
        if one["labels"]["alertname"] == alert:
            return str(one["annotations"]["summary"])
    return None


def wait_for_alert(prometheus: Prometheus, alert: str, began: float) -> Sighting:
    """Wait until an alert fires."""
    while monotonic() - began < TIMEOUT_S:
        if (summary := firing(prometheus, alert)) is not None:
            return Sighting(f"`{alert}` {summary}", monotonic() - began)
        time.sleep(_POLL_S)
    raise AssertionError(f"{alert} does not fire within {TIMEOUT_S} s")


def wait_for_end(prometheus: Prometheus, alert: str) -> None:
    """Wait until an alert does not fire."""
    end = monotonic() + 2 * TIMEOUT_S
    while (summary := firing(prometheus, alert)) is not None:
        assert monotonic() < end, f"{alert} does not end: {summary}"
        time.sleep(_POLL_S)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.text)
def test_a_fault_is_seen_in_the_cluster(
    fault: Fault, scene: Scene, bench: Bench, table: Table
) -> None:
    bench.all_allocatable()
    bench.history.wait_for(IB, 1, 1)
    bench.pod({ATOM: 4, IB: 1}).running()
    wait_for_end(scene.prometheus, fault.alert)  # an earlier fault's window
    with ThreadPoolExecutor(2) as threads:
        began = monotonic()
        fault.inject(scene)
        problem = threads.submit(wait_for_problem, scene.kubectl, fault, began)
        alert = threads.submit(wait_for_alert, scene.prometheus, fault.alert, began)
    line, shown = problem.result(), alert.result()
    began = monotonic()
    fault.mend(scene)
    wait_for_end(scene.prometheus, fault.alert)
    table.add_row(
        *(fault.text, line.text, f"{line.seconds:.1f}", shown.text, f"{shown.seconds:.1f}"),
        seconds=monotonic() - began,
    )

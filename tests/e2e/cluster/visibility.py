"""What the on-call engineer sees of a fault, and how soon: ``kubectl rbln``, the alert, the Events.

It runs by name only: test_kubectl_rbln.py, test_cluster_events.py and ``scripts/e2e alerts`` test
the same without the clock. The alert rules are those of ``tests/e2e/alerts``: a second in the place
of each minute.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final, NamedTuple

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
from tests.e2e.cluster.visible_faults import FAULTS, GOOD, HCA, IB, Fault, Scene
from tests.e2e.prometheus import Prometheus, server_command, write_settings
from tests.e2e.report import Table
from tests.system.scene import ATOM, ATOMS

TIMEOUT_S: Final = 60.0
EVENTS: Final = "/apis/events.k8s.io/v1/events"
REPORTER: Final = "rebellions.ai/rbln-agent"
_POLL_S: Final = 0.1


class Sighting(NamedTuple):
    """Something that was seen, and how many seconds after the fault."""

    text: str
    seconds: float


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """What becomes docs/measured/visibility.md."""
    table = Table(
        f"Kubernetes {kubernetes_version()}, one node. The seconds of `kubectl rbln doctor` are "
        "those until its answer is there. A second stands for each minute of the alert rules: an "
        "alert after 11 s is one after 10 minutes and the second until the scrape.",
        *("fault", "`kubectl rbln doctor`", "after, s", "Events", "after, s"),
        *("alert", "after, s", "ends, s after"),
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
    components = ("api-token", "events")
    overlay(folder, base="base", components=components, configMapGenerator=[CONFIG_MAP])
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


def agent_events(cluster: Cluster) -> dict[tuple[str, str], dict[str, Any]]:
    """The Events of rbln-agent, by UID and version: one that is counted again is a new one."""
    items: list[dict[str, Any]] = cluster.api.call("GET", EVENTS)["items"]
    return {
        (one["metadata"]["uid"], one["metadata"]["resourceVersion"]): one
        for one in items
        if one.get("reportingController") == REPORTER
    }


def wait_for_events(
    cluster: Cluster, fault: Fault, before: frozenset[tuple[str, str]], began: float
) -> Sighting:
    """Wait until the node has an Event of a fault, and the pod where it is of devices."""
    wanted = {"Node", "Pod"} if fault.reason.series_by == "device" else {"Node"}
    new: list[dict[str, Any]] = []
    while monotonic() - began < TIMEOUT_S:
        new = [one for key, one in agent_events(cluster).items() if key not in before]
        found = {one["regarding"]["kind"]: one for one in new if one["reason"] == fault.reason}
        if wanted <= found.keys():
            places = " and ".join(sorted(wanted)).lower()
            text = f"`{fault.reason}` on {places}: {found['Node']['note']}"
            return Sighting(text, monotonic() - began)
        time.sleep(_POLL_S)
    raise AssertionError(f"{fault.text}: no {fault.reason} on {wanted}: {new}")


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
    fault: Fault, scene: Scene, bench: Bench, cluster: Cluster, table: Table
) -> None:
    bench.all_allocatable()
    bench.history.wait_for(IB, 1, 1)
    bench.pod({ATOM: 4, IB: 1}).running()
    wait_for_end(scene.prometheus, fault.alert)  # an earlier fault's window
    before = frozenset(agent_events(cluster))
    with ThreadPoolExecutor(3) as threads:
        began = monotonic()
        awaited = (
            threads.submit(wait_for_problem, scene.kubectl, fault, began),
            threads.submit(wait_for_events, cluster, fault, before, began),
            threads.submit(wait_for_alert, scene.prometheus, fault.alert, began),
        )
        fault.inject(scene)
    sightings = [one.result() for one in awaited]
    began = monotonic()
    fault.mend(scene)
    wait_for_end(scene.prometheus, fault.alert)
    table.add_row(
        fault.text,
        *(cell for one in sightings for cell in (one.text, f"{one.seconds:.1f}")),
        seconds=monotonic() - began,
    )

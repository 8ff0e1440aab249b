"""Debian's Prometheus scrapes the exporter of the DaemonSet and evaluates the shipped alerts.

Each alert with its fault: ``tests/e2e/alerts``.
"""

from collections.abc import Iterator
from time import monotonic

import pytest

from tests.e2e.alerts.rules import shipped_rules
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.config import LOOPBACK, free_ports
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.prometheus import ALERTS, Prometheus, server_command, write_settings


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, installed: DaemonSet) -> Iterator[Prometheus]:
    folder = cluster.places.state / "prometheus"
    folder.mkdir()
    port = free_ports().health
    targets = {f"{LOOPBACK}:9420": f"{LOOPBACK}:9420"}
    settings = write_settings(folder, ALERTS, targets, scrape_s=3, evaluation_s=1)
    cluster.daemons.start("prometheus", server_command(folder, settings, port))
    yield Prometheus(port)
    cluster.daemons.stop("prometheus")


def test_the_page_is_scraped(prometheus: Prometheus, bench: Bench) -> None:
    prometheus.wait_for('up{job="rbln"}', 1.0)
    prometheus.wait_for("rbln_up", 1.0)
    prometheus.wait_for("rbln_supervisor_ready", 1.0)
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    names = [name for name in prometheus.get("label/__name__/values") if name.startswith("rbln_")]
    bench.report.add(
        "Prometheus (Debian's) scrapes the DaemonSet's exporter", f"up; {len(names)} metrics"
    )


def test_every_alert_is_loaded_and_evaluated(prometheus: Prometheus, bench: Bench) -> None:
    prometheus.wait_for("rbln_up", 1.0)
    wanted = {rule["alert"] for rule in shipped_rules()}
    rules = prometheus.wait_for_rules()
    assert {rule["name"] for rule in rules} == wanted
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    assert firing == [], "a healthy node fires nothing"
    bench.report.add(f"{len(wanted)} alert rules", "loaded and evaluated without an error")


def test_an_alert_sees_what_it_is_for(
    prometheus: Prometheus, installed: DaemonSet, bench: Bench
) -> None:
    pid = installed.status().supervisor.pid
    began = monotonic()
    assert installed.run("sh", "-c", f"kill -STOP {pid}").returncode == 0
    prometheus.wait_for('count(ALERTS{alertname="RblnSupervisorDown"})', 1.0)
    seconds = monotonic() - began
    assert installed.run("sh", "-c", f"kill -CONT {pid}").returncode == 0
    prometheus.wait_for("rbln_up", 1.0)
    bench.report.add(
        "the supervisor hangs", "RblnSupervisorDown is pending, and resolved afterwards", seconds
    )

"""Debian's Prometheus scrapes the exporter of the DaemonSet and evaluates the shipped alerts."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from time import monotonic
from typing import Final

import pytest
import yaml

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.config import LOOPBACK, free_ports
from tests.e2e.cluster.daemonset import DaemonSet
from tests.manifests.objects import REPOSITORY

ALERTS: Final = REPOSITORY / "deployments/prometheus/alerts.yaml"
TIMEOUT_S: Final = 30.0


class Prometheus:
    """A running server and its HTTP API."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **query: str) -> Object:
        """The data of a reply; OSError while it does not listen yet."""
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{path}{words}"
        with urllib.request.urlopen(url, timeout=5.0) as reply:
            data: Object = json.load(reply)["data"]
            return data

    def value(self, query: str) -> float | None:
        """The only value of a query; None where there is none yet."""
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, installed: DaemonSet) -> Iterator[Prometheus]:
    folder = cluster.places.state / "prometheus"
    folder.mkdir()
    port = free_ports().health
    settings = {
        "global": {"scrape_interval": "3s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": "rbln", "static_configs": [{"targets": [f"{LOOPBACK}:9420"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    cluster.daemons.start(
        "prometheus",
        (
            *("/usr/bin/prometheus", f"--config.file={folder}/prometheus.yml"),
            *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address={LOOPBACK}:{port}"),
        ),
    )
    yield Prometheus(port)
    cluster.daemons.stop("prometheus")


def eventually(prometheus: Prometheus, query: str, wanted: float) -> None:
    """Wait for the value of a query."""
    end = monotonic() + TIMEOUT_S
    seen: object = None
    while monotonic() < end:
        try:
            seen = prometheus.value(query)
        except OSError as error:
            seen = error
        if seen == wanted:
            return
        time.sleep(0.2)
    raise AssertionError(f"{query}: {seen} after {TIMEOUT_S} s, expected {wanted}")


def test_the_page_is_scraped(prometheus: Prometheus, bench: Bench) -> None:
    eventually(prometheus, 'up{job="rbln"}', 1.0)
    eventually(prometheus, "rbln_up", 1.0)
    eventually(prometheus, "rbln_supervisor_ready", 1.0)
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    names = [name for name in prometheus.get("label/__name__/values") if name.startswith("rbln_")]
    bench.report.add(
        "Prometheus (Debian's) scrapes the DaemonSet's exporter", f"up; {len(names)} metrics"
    )


def test_every_alert_is_loaded_and_evaluated(prometheus: Prometheus, bench: Bench) -> None:
    eventually(prometheus, "rbln_up", 1.0)
    shipped = yaml.safe_load(ALERTS.read_text())["groups"]
    wanted = {rule["alert"] for group in shipped for rule in group["rules"]}
    end = monotonic() + TIMEOUT_S
    while True:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        if all(rule["health"] == "ok" for rule in rules):
            break
        assert monotonic() < end, [rule for rule in rules if rule["health"] != "ok"]
        time.sleep(0.2)
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
    eventually(prometheus, 'count(ALERTS{alertname="RblnSupervisorDown"})', 1.0)
    seconds = monotonic() - began
    assert installed.run("sh", "-c", f"kill -CONT {pid}").returncode == 0
    eventually(prometheus, "rbln_up", 1.0)
    bench.report.add(
        "the supervisor hangs", "RblnSupervisorDown is pending, and resolved afterwards", seconds
    )

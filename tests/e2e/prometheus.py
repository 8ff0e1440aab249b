"""Debian's Prometheus as a process, and its HTTP API."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

import yaml

from tests.manifests.objects import REPOSITORY

PACKAGES: Final = ("prometheus",)
ALERTS: Final = REPOSITORY / "deployments/prometheus/alerts.yaml"
LOOPBACK: Final = "127.0.0.1"
TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.2


class Series(NamedTuple):
    """A series of a range query: its labels, and (seconds since the epoch, value) by time."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """The HTTP API of a running server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **query: str) -> Any:  # noqa: ANN401 - an object or a list
        """The data of a reply; OSError while it does not listen yet."""
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{path}{words}"
        with urllib.request.urlopen(url, timeout=10.0) as reply:
            return json.load(reply)["data"]

    def value(self, query: str) -> float | None:
        """The only value of a query; None where there is none yet."""
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def now(self) -> float:
        """The server's time, in seconds since the epoch."""
        return self.value("vector(time())") or 0.0

    def instances(self, query: str) -> frozenset[str]:
        """The values of the label instance in the result of a query."""
        found = self.get("query", query=query)["result"]
        return frozenset(one["metric"]["instance"] for one in found)

    def query_range(self, query: str, start: float, end: float, step_s: float) -> list[Series]:
        """The series of a query between two times, in seconds since the epoch."""
        data = self.get(
            "query_range", query=query, start=f"{start}", end=f"{end}", step=f"{step_s}"
        )
        return [
            Series(one["metric"], [(at, float(value)) for at, value in one["values"]])
            for one in data["result"]
        ]

    def firing_alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire now: labels, annotations, activeAt."""
        return [one for one in self.get("alerts")["alerts"] if one["state"] == "firing"]

    def rules(self) -> list[dict[str, Any]]:
        """The loaded rules with their state."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def wait_for(self, query: str, wanted: float, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until a query has this value; AssertionError."""
        end = monotonic() + timeout_s
        seen: object = None
        while monotonic() < end:
            try:
                seen = self.value(query)
            except OSError as error:
                seen = error
            if seen == wanted:
                return
            time.sleep(_POLL_S)
        raise AssertionError(f"{query}: {seen} after {timeout_s} s, expected {wanted}")

    def wait_for_rules(self, timeout_s: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Wait until each rule was evaluated without an error; return them. AssertionError."""
        end = monotonic() + timeout_s
        while True:
            found = self.rules()
            failing = [rule for rule in found if rule["health"] != "ok"]
            if not failing:
                return found
            assert monotonic() < end, failing
            time.sleep(_POLL_S)


def write_settings(
    folder: Path, rules: Path, targets: Mapping[str, str], *, scrape_s: int, evaluation_s: int
) -> Path:
    """Write prometheus.yml; ``targets`` are addresses by the value of their label instance."""
    settings = {
        "global": {
            "scrape_interval": f"{scrape_s}s",
            "scrape_timeout": f"{scrape_s}s",
            "evaluation_interval": f"{evaluation_s}s",
        },
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "rbln",
                "static_configs": [
                    {"targets": [address], "labels": {"instance": name}}
                    for name, address in targets.items()
                ],
            }
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings))
    return file


def server_command(folder: Path, settings: Path, port: int) -> Sequence[str]:
    """The command of a server with its data in a folder."""
    return (
        *("/usr/bin/prometheus", f"--config.file={settings}"),
        *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address={LOOPBACK}:{port}"),
    )


@contextmanager
def running_server(folder: Path, settings: Path, port: int) -> Iterator[Prometheus]:
    """A server, until the end of the block."""
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            server_command(folder, settings, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait()

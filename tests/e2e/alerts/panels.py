"""The panels of the shipped dashboard, with the queries that Grafana would send."""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from tests.e2e.prometheus import Prometheus, Series
from tests.manifests.objects import REPOSITORY

DASHBOARD: Final = REPOSITORY / "deployments/grafana/dashboard.json"
RATE_INTERVAL: Final = "4s"
"""Grafana's ``$__rate_interval`` where a scrape comes each second: four scrapes."""
STEP_S: Final = 1.0


class Target(NamedTuple):
    """A query of a panel, and the name of its series, with ``{{label}}``."""

    query: str
    legend: str


class Place(NamedTuple):
    """A place in a grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


class Panel(NamedTuple):
    """A panel of the dashboard."""

    title: str
    kind: str
    """``stat``, ``timeseries`` or ``table``."""
    unit: str
    place: Place
    targets: tuple[Target, ...]


class Line(NamedTuple):
    """A series with its name in the legend."""

    name: str
    series: Series


def shipped_panels() -> tuple[Panel, ...]:
    """All panels; the variables of their queries select every node and pool."""
    return tuple(
        Panel(
            panel["title"],
            panel["type"],
            panel["fieldConfig"]["defaults"].get("unit", "short"),
            Place(**panel["gridPos"]),
            tuple(
                Target(fill_variables(target["expr"]), target.get("legendFormat", ""))
                for target in panel["targets"]
            ),
        )
        for panel in json.loads(DASHBOARD.read_text())["panels"]
    )


def fill_variables(query: str) -> str:
    """The query with every variable of the dashboard replaced."""
    filled = query.replace("$__rate_interval", RATE_INTERVAL)
    filled = filled.replace("$instance", ".*").replace("$pool", ".*")
    assert "$" not in filled, filled
    return filled


def query_panel(prometheus: Prometheus, panel: Panel, start: float, end: float) -> list[Line]:
    """The lines of a panel between two times, in seconds since the epoch."""
    return [
        Line(legend_of(target.legend, series.labels), series)
        for target in panel.targets
        for series in prometheus.query_range(target.query, start, end, STEP_S)
    ]


def legend_of(template: str, labels: Mapping[str, str]) -> str:
    """The name of a series; where there is no template, its labels."""
    if not template:
        return " ".join(labels.values())
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), template).strip()

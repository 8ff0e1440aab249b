"""Dashboard, alerts and docs/metrics.md speak of metrics that exist, in queries that are valid."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import promql_parser
import pytest
import yaml

from rbln_supervisor.core.reporting.unavailability import Cause
from rbln_supervisor.core.status import PoolState
from rbln_supervisor.exporter.catalog import CATALOG, Entry, catalog_table
from rbln_worker.contract.counters import CLAIM_METHODS, METHODS

REPOSITORY: Final = Path(__file__).parents[2]
ALERTS: Final = REPOSITORY / "deployments/prometheus/alerts.yaml"
DASHBOARD: Final = REPOSITORY / "deployments/grafana/dashboard.json"

TARGET_LABELS: Final = frozenset({"instance", "job", "node"})
"""Given by whoever scrapes."""
VALUES: Final = {
    "state": set(get_args(PoolState)),
    "cause": {*get_args(Cause), "SIGKILL", "hang"},
    "health": {"Healthy", "Unhealthy"},
    "method": {*METHODS, *CLAIM_METHODS},
    "outcome": {"ok", "refused"},
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def board() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def queries() -> Iterator[tuple[str, str]]:
    """Each query of both files, with where it stands."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in board()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


QUERIES: Final = tuple(queries())


def plain(query: str) -> str:
    """A query as Grafana sends it."""
    return query.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$pool", "x")


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    """The selectors of a query; ValueError where it is none."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
            child = getattr(node, name, None)
            if child is not None:
                visit(child)
        for child in getattr(node, "args", None) or ():
            visit(child)

    visit(promql_parser.parse(plain(query)))
    return found


def entry_of(name: str) -> Entry | None:
    """The metric that a series belongs to."""
    for entry in CATALOG:
        ends = ("_bucket", "_sum", "_count") if entry.kind == "histogram" else ("",)
        if name in {f"{entry.name}{end}" for end in ends}:
            return entry
    return None


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_a_query_asks_for_what_there_is(where: str, query: str) -> None:
    found = selectors(query)
    assert found, "it asks for nothing"
    for selector in found:
        assert selector.name is not None
        entry = entry_of(selector.name)
        assert entry is not None, f"{where}: there is no {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in {*entry.labels, *TARGET_LABELS}, f"{where}: {matcher.name}"
            if matcher.name in VALUES:
                assert set(matcher.value.split("|")) <= VALUES[matcher.name], where


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_a_query_groups_by_labels_that_there_are(where: str, query: str) -> None:
    labels = {"le"} | TARGET_LABELS
    for selector in selectors(query):
        entry = entry_of(selector.name or "")
        labels |= set(entry.labels) if entry else set()
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    for group in grouped:
        assert {label.strip() for label in group.split(",")} <= labels, where


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_counters_are_not_asked_for_their_value(where: str, query: str) -> None:
    for selector in selectors(query):
        entry = entry_of(selector.name or "")
        if entry is not None and entry.kind != "gauge":
            assert re.search(rf"(rate|increase)\({selector.name}\b", query), where


def test_the_parser_refuses_what_is_no_query() -> None:
    for wrong in ("sum(", "rbln_up ==", "rate(rbln_up)[5m]", "rbln_up{x=}"):
        with pytest.raises(ValueError, match=r"."):
            selectors(wrong)


def test_an_alert_says_what_is_the_matter_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Rbln[A-Za-z]+", rule["alert"])
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        grouped = re.search(r"\bby \(([^)]*)\)", rule["expr"])
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        if grouped:
            assert used <= {label.strip() for label in grouped[1].split(",")}, rule["alert"]


def test_the_dashboard_is_one() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) == 23
    known = {one["name"] for one in board()["templating"]["list"]}
    for panel in panels:
        used = set(re.findall(r"\$(\w+)", json.dumps(panel["targets"])))
        assert used <= known | {"__rate_interval"}, panel["title"]


def test_variables_ask_for_what_there_is() -> None:
    asked = [
        one["query"]["query"] for one in board()["templating"]["list"] if one["type"] == "query"
    ]
    for query in asked:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert match is not None
        (selector,) = selectors(match[1])
        entry = entry_of(selector.name or "")
        assert entry is not None
        assert match[2] in {*entry.labels, *TARGET_LABELS}


def test_the_readme_has_the_list() -> None:
    assert catalog_table() in (REPOSITORY / "docs/metrics.md").read_text()

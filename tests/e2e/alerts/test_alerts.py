"""Each shipped alert fires for its fault, says where, and ends when the fault is mended."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest

from tests.e2e.alerts.conftest import EXPORTER_GONE, Run
from tests.e2e.alerts.faults import FAULTS
from tests.e2e.alerts.rules import MINUTE_S, shipped_rules, shorten
from tests.e2e.prometheus import ALERTS
from tests.e2e.record import cache_folder
from tests.e2e.report import Table

ALERTS_OF_FAULTS: Final = tuple((alert, fault.node) for fault in FAULTS for alert in fault.alerts)
"""Each alert with the node where it fires."""
RULE_TESTS: Final = Path(__file__).with_name("rule_tests.yaml")
RANGE: Final = re.compile(r"\[[^\]]*\]")


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """Where results go; __main__ prints them."""
    table = Table(
        "Debian's Prometheus; a second stands for each minute of the rules and of --gone-grace.",
        *("fault", "alert", "what the alert says", "ends after, s", "fires after, s"),
    )
    yield table
    folder = cache_folder() / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    table.write(folder / "results.md")


def ranges(expression: object) -> Iterator[float]:
    """The windows of an expression in seconds, in order."""
    spans = (getattr(expression, name, None) for name in ("range", "step"))
    yield from (span.total_seconds() for span in spans if span is not None)
    for name in ("expr", "lhs", "rhs", "param"):
        child = getattr(expression, name, None)
        if child is not None:
            yield from ranges(child)
    for child in getattr(expression, "args", None) or ():
        yield from ranges(child)


@pytest.mark.parametrize("rule", shipped_rules(), ids=lambda rule: rule["alert"])
def test_only_time_spans_are_shorter_here(rule: dict[str, Any]) -> None:
    short = shorten(rule)
    expression, shorter = (promql_parser.parse(one["expr"]) for one in (rule, short))
    assert [one * MINUTE_S / 60 for one in ranges(expression)] == list(ranges(shorter))
    assert len(list(ranges(expression))) == rule["expr"].count("[") + rule["expr"].count("[1d:")
    assert RANGE.sub("[]", rule["expr"]) == RANGE.sub("[]", short["expr"])
    if "for" in rule:
        units = {"s": 1, "m": 60, "h": 3600}
        seconds = int(rule["for"][:-1]) * units[rule["for"][-1]] * MINUTE_S / 60
        assert short["for"] == f"{seconds:.0f}s"
    assert {**rule, "expr": "", "for": ""} == {**short, "expr": "", "for": ""}


def test_promtool_accepts_the_shipped_file() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"SUCCESS: {len(shipped_rules())} rules found" in done.stdout


def test_promtool_evaluates_the_shipped_time_spans() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", RULE_TESTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_shipped_alert_has_a_fault() -> None:
    assert {alert for alert, _ in ALERTS_OF_FAULTS} | {EXPORTER_GONE} == {
        rule["alert"] for rule in shipped_rules()
    }


@pytest.mark.parametrize(("alert", "node"), ALERTS_OF_FAULTS)
def test_an_alert_fires_and_ends(alert: str, node: str, run: Run, table: Table) -> None:
    course = run.campaign.courses[alert, node]
    assert course.fired, f"{course.fault.text}: {alert} did not fire"
    (rule,) = (rule for rule in shipped_rules() if rule["alert"] == alert)
    assert course.shown["labels"]["severity"] == rule["labels"]["severity"]
    summary = course.shown["annotations"]["summary"]
    assert summary.startswith(f"{course.fault.node}: ")
    assert "<no value>" not in str(course.shown["annotations"])
    assert course.resolved, f"{course.fault.text}: {alert} did not end"
    table.add_row(
        *(course.fault.text, f"`{alert}`", summary, f"{course.seconds_to_resolve:.1f}"),
        seconds=course.seconds_to_fire,
    )


def test_nothing_else_fires(run: Run) -> None:
    expected = {
        (alert, fault.node) for fault in FAULTS for alert in (*fault.alerts, *fault.companions)
    }
    assert run.campaign.seen <= expected
    assert not any(node == "healthy" for _, node in run.campaign.seen)

"""docs/operate.md against the code: each word that a status says, and no other."""

from typing import Final, get_args

import yaml

from rbln_supervisor.core.reporting.pool_summary import NO_DEVICES, NOT_READ
from rbln_supervisor.core.reporting.unavailability import Cause
from rbln_supervisor.core.status import CounterName, PoolState
from rbln_supervisor.ctl.command import Exit as OfCtl
from rbln_worker.contract.events import Kind
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.health import VERDICT_SOURCES, HealthPhase
from rbln_worker.contract.problem import Code
from rbln_worker.core.registration_reasons import ABSENT, reason_text
from tests.unit.pages import REPOSITORY, rows, spans, text

PAGE: Final = text("operate.md")
USAGE: Final = 2
"""argparse's."""


def words(first: str) -> set[str]:
    """The code in the first cells of a table, or of several."""
    return {span for row in rows(PAGE, first) for span in spans(row.first)}


def test_states_phases_sources_causes_and_kinds() -> None:
    assert words("state") == set(get_args(PoolState))
    assert words("phase") == set(HealthPhase)
    assert words("source") == set(VERDICT_SOURCES)
    assert words("`cause` of `rbln_lost_allocatable_seconds_total`") == set(get_args(Cause))
    assert words("kind") == set(get_args(Kind))


def test_phases_say_what_the_kubelet_gets() -> None:
    heard = {row.code("phase"): row.cells["the kubelet gets"] for row in rows(PAGE, "phase")}
    fallen = {HealthPhase.UNHEALTHY, HealthPhase.PROBATION}
    assert heard == {phase: "Unhealthy" if phase in fallen else "Healthy" for phase in HealthPhase}


def test_reasons_why_a_pool_is_not_listed() -> None:
    known = {NO_DEVICES, NOT_READ, *map(reason_text, ABSENT)}
    assert known <= words("reason")


def test_exit_codes() -> None:
    code = rows(PAGE, "code")
    of_ctl = {int(row.first) for row in code if "of `rbln-ctl`" in row.cells}
    others = {
        int(row.first)
        for row in code
        if row.first.isdigit() and "of `rbln-ctl`" not in row.cells and "severity" not in row.cells
    }
    assert of_ctl == {*OfCtl, USAGE}
    assert others == set(Exit)


def test_codes_of_problems() -> None:
    table = [row for row in rows(PAGE, "code") if "severity" in row.cells]
    assert {span for row in table for span in spans(row.first)} == set(Code)
    for row in table:
        severities = [Code(span).severity for span in spans(row.first)]
        assert set(row.cells["severity"].split(", ")) == set(severities), row


def test_alerts() -> None:
    (group,) = yaml.safe_load((REPOSITORY / "deployments/prometheus/alerts.yaml").read_text())[
        "groups"
    ]
    assert words("alert") == {rule["alert"] for rule in group["rules"]}


def test_counters() -> None:
    assert words("counter") == set(CounterName)

"""Each query of the shipped dashboard returns data; the panels are drawn from it."""

import math
from typing import Final

import pytest

from tests.e2e.alerts.conftest import Run
from tests.e2e.alerts.panels import STEP_S, Panel, query_panel, shipped_panels
from tests.e2e.alerts.picture import Span, draw_dashboard
from tests.e2e.record import cache_folder

PANELS: Final = shipped_panels()
TITLE: Final = "Rebellions device plugin: nine nodes, faults on eight of them"
ALWAYS_ZERO: Final = frozenset({"failed", "lost {{kind}}", "status {{status}}"})
"""Targets whose values are 0 in this run: no registration or call of the API server
fails, no kernel event is lost."""
UNHEALTHY: Final = 'sum(rbln_devices{health="Unhealthy"})'


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_shows_what_happened(panel: Panel, run: Run) -> None:
    for target in panel.targets:
        found = run.prometheus.query_range(target.query, run.started, run.ended, STEP_S)
        values = [value for series in found for _, value in series.points if math.isfinite(value)]
        assert values, f"no data: {target.query}"
        assert max(values) > 0 or target.legend in ALWAYS_ZERO, f"always 0: {target.query}"


def test_the_panels_are_drawn(run: Run) -> None:
    (unhealthy,) = run.prometheus.query_range(UNHEALTHY, run.started, run.ended, STEP_S)
    moment, _ = max(unhealthy.points, key=lambda point: point[1])
    span = Span(run.started, run.ended, moment)
    drawn = [
        (panel, query_panel(run.prometheus, panel, run.started, run.ended)) for panel in PANELS
    ]
    picture = draw_dashboard(drawn, span, TITLE)
    for panel in PANELS:
        assert panel.title.replace("'", "&#x27;") in picture
    folder = cache_folder() / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dashboard.svg").write_text(picture)

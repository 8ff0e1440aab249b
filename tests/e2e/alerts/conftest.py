"""Nodes, a Prometheus that scrapes them, and one run of all faults."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.e2e.alerts.campaign import Campaign
from tests.e2e.alerts.faults import FAULTS, SYSTEMS
from tests.e2e.alerts.nodes import Node, free_port
from tests.e2e.alerts.rules import write_short_rules
from tests.e2e.prometheus import Prometheus, running_server, write_settings
from tests.system.scene import eventually

EXPORTER_GONE = "RblnExporterGone"
FORMER_DEVICES = (
    'max_over_time((sum by (instance, pool) (rbln_devices{pool=~".*/(ATOM|VM)"}))[60s:30s])'
)
DRAWN_BEFORE_S = 2.0
_ALERT_TIMEOUT_S = 60.0


class Run(NamedTuple):
    """A finished campaign, with the times of its data in seconds since the epoch."""

    prometheus: Prometheus
    campaign: Campaign
    started: float
    ended: float


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All faults, once for all tests; RblnExporterGone has fired and ended before them."""
    home = tmp_path_factory.mktemp("alerts")
    with ExitStack() as stack:
        nodes = {name: Node(name, system, home / name) for name, system in SYSTEMS.items()}
        targets = {name: node.address for name, node in nodes.items()}
        settings = write_settings(
            home, write_short_rules(home), targets, scrape_s=1, evaluation_s=1
        )
        prometheus = stack.enter_context(running_server(home, settings, free_port()))
        for node in nodes.values():
            stack.enter_context(node)
        _wait_firing(prometheus, {EXPORTER_GONE})
        for node in nodes.values():
            node.start_exporter()
        prometheus.wait_for("count(rbln_up == 1)", len(nodes))
        # Each pool's counters are there once its worker has reported them.
        pools = 'count(rbln_failed_writes_total{pool=~".*/(ATOM|VM)"})'
        prometheus.wait_for(pools, 2 * len(nodes))
        # … and what the day before had, which a rule reads in steps of 30 minutes.
        prometheus.wait_for(f"count({FORMER_DEVICES})", 2 * len(nodes), _ALERT_TIMEOUT_S)
        started = prometheus.now() - DRAWN_BEFORE_S
        nodes["healthy"].call_steadily()
        _wait_firing(prometheus, {"RblnPoolInvalid"})  # wrong from the start
        campaign = Campaign(prometheus, nodes, FAULTS)
        campaign.run()
        yield Run(prometheus, campaign, started, prometheus.now())


def _wait_firing(prometheus: Prometheus, alerts: set[str]) -> None:
    def firing() -> bool:
        try:
            return {one["labels"]["alertname"] for one in prometheus.firing_alerts()} == alerts
        except OSError:
            return False  # it does not listen yet

    eventually(firing, what=f"firing: {alerts}", deadline_s=_ALERT_TIMEOUT_S)

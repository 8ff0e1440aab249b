"""README's examples and figures: the pod, the configuration, the table of docs/measured."""

import json
import re
from typing import Any, Final

import yaml

from rbln_supervisor.core.config.node_config import parse, require_valid
from tests.unit.pages import DOCS, REPOSITORY, blocks, rows

README: Final = (REPOSITORY / "README.md").read_text()
FIGURES: Final = {
    "start, until the kubelet lists all pools": "start → all pools listed",
    "Allocate of 2 devices, p50 / p99": "Allocate of 2 devices",
    "driver unbound, until the kubelet gets the message, p50 / p99": (
        "driver gone (a kernel uevent) → message"
    ),
    "worker killed, until the kubelet lists its pool again": "worker killed → all pools listed",
    "memory of all processes": "memory: all processes, each page once",
    "idle CPU of all processes": "idle CPU of all processes",
}
"""Rows of README, with those of docs/measured/bench.md."""


def block(language: str) -> str:
    (body,) = (body for name, body in blocks(README) if name == language)
    return body


def test_the_pod_asks_for_what_the_installed_overlay_offers() -> None:
    overlay = REPOSITORY / "deployments/kubernetes/base/config.json"
    (pool,) = json.loads(overlay.read_text())["resourceList"]
    pod: dict[str, Any] = yaml.safe_load(block("yaml"))
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"].keys() == {
        f"{pool['resourcePrefix']}/{pool['resourceName']}"
    }


def test_the_configuration_loads_without_a_warning() -> None:
    config = require_valid(parse(block("json").encode(), prefix="intel.com"))
    assert [pool.spec.name for pool in config.pools] == ["rebellions.ai/ATOM"]
    assert not config.warnings


def test_figures_are_those_of_the_measured_page() -> None:
    measured = {
        row.first: [re.sub(r" \([^)]*\)", "", cell) for cell in [*row.cells.values()][1:]]
        for row in rows((DOCS / "measured/bench.md").read_text(), "figure")
    }
    shown = {
        row.first: [*row.cells.values()][1:]
        for row in rows(README[README.index("## Figures") :].partition("\n## ")[0], "")
    }
    assert shown == {row: measured[of] for row, of in FIGURES.items()}

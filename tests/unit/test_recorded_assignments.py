"""The recorded nodes and configurations: the pools have the devices that the reference gave them.

Without plugin and kubelet; tests/system/test_conformance.py asks for all that a kubelet hears.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rbln_supervisor.core.assign import assign
from rbln_supervisor.core.configuration.config import NodeConfig, parse, strict
from rbln_supervisor.core.explain import explain
from rbln_supervisor.node import Look, needs
from rbln_worker.host.inventory import Needs
from tests.sim import conformance
from tests.sim.node import SimNode

ROOT: Final = Path(__file__).parents[2]

IN_A_NAMESPACE: Final = {"nic-default-route-excluded"}
"""What these are about lies in a network namespace, and not in files."""

NAMES: Final = sorted({*conformance.names()} - IN_A_NAMESPACE)

# A look belongs into a process that ends after it: pyroute2 leaves things open.
LOOK: Final = """
import sys, msgspec
from pathlib import Path
from rbln_supervisor.node import look
from rbln_worker.host.inventory import Needs
asked = msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[str, Needs]])
sys.stdout.buffer.write(msgspec.json.encode([look(Path(root), needs) for root, needs in asked]))
"""


def configured(name: str) -> NodeConfig:
    case = conformance.load(name)
    prefix = "intel.com"
    for before, after in zip(case.args, case.args[1:], strict=False):
        prefix = after if before.lstrip("-") == "resource-prefix" else prefix
    return strict(parse(msgspec.json.encode(case.config), prefix=prefix))


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Look]:
    asked: list[tuple[str, Needs]] = []
    for name in NAMES:
        root = tmp_path_factory.mktemp(name)
        conformance.load(name).node.build(SimNode(root))
        asked.append((str(root), needs(configured(name).pools, allow_default_route=False)))
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=ROOT,
        input=msgspec.json.encode(asked),
        capture_output=True,
        timeout=60,
        check=True,
    )
    found = msgspec.json.decode(done.stdout, type=list[Look])
    return dict(zip(NAMES, found, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_pools_have_the_recorded_devices(name: str, looks: Mapping[str, Look]) -> None:
    config, look = configured(name), looks[name]
    assert look.failed is None
    devices = assign(config.pools, look.node).devices
    recorded = conformance.load(name).expected.pools
    assert {pool: set(each) for pool, each in devices.items() if each} == {
        pool: set(seen.devices) for pool, seen in recorded.items()
    }
    for pool, each in devices.items():
        for device in each:
            told = explain(config, look.node, device, {})
            assert told
            assert told.pool == pool

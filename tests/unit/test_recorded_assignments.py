"""The recorded nodes and configurations: the pools have the devices that the reference gave them.

Without plugin and kubelet; tests/system/test_conformance.py asks for all that a kubelet hears.
"""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from rbln_supervisor.core.config.node_config import NodeConfig, parse, require_valid
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import explain
from rbln_supervisor.discovery.process import required_reads
from rbln_worker.host.discovery.scan import scan_node
from tests.sim import conformance
from tests.sim.node import SimNode

ROOT: Final = Path(__file__).parents[2]

IN_A_NAMESPACE: Final = {"nic-default-route-excluded"}
"""What these are about lies in a network namespace, and not in files."""

NAMES: Final = sorted({*conformance.names()} - IN_A_NAMESPACE)


def configured(name: str) -> NodeConfig:
    case = conformance.load(name)
    prefix = "intel.com"
    for before, after in zip(case.args, case.args[1:], strict=False):
        prefix = after if before.lstrip("-") == "resource-prefix" else prefix
    return require_valid(parse(msgspec.json.encode(case.config), prefix=prefix))


@pytest.mark.parametrize("name", NAMES)
def test_pools_have_the_recorded_devices(name: str, tmp_path: Path) -> None:
    config = configured(name)
    conformance.load(name).node.build(SimNode(tmp_path))
    look = scan_node(tmp_path, required_reads(config.pools, allow_default_route=False))
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

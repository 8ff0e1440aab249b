"""Many claims at once, on a node with more NPUs than a slice may have; the folder's last tests.

NPUs that are unplugged stay, Unhealthy, until the plugin is started again.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.api import PODS
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    failed_prepares,
    npu_paths,
    paths_of,
)
from tests.e2e.cluster.dra.objects import CLAIMS, request, results
from tests.e2e.cluster.node import HostNode
from tests.sim.device import SimDevice

ALL_PODS: Final = f"{PODS}?labelSelector=app%3Ddra"
STORM: Final = 100
MORE: Final = 136
"""Further NPUs: with the node's four more than the 128 that a slice may have."""


@pytest.fixture
def many(node: HostNode, driver: DaemonSet, slices: Slices) -> Iterator[None]:
    """More NPUs than one slice may have; gone after the test."""
    more = [
        SimDevice(
            bdf=f"0001:{number:02x}:00.0",
            device="1220",
            iommu=200 + number,
            rbln=f"rbln{100 + number}",
        )
        for number in range(MORE)
    ]
    node.add(*more)
    driver.ctl("rescan")
    slices.wait(lambda devices: len(devices) == MORE + 4, what="all NPUs are published")
    yield
    for one in more:
        node.remove(one.bdf)


def test_a_storm_of_claims_on_a_node_with_more_devices_than_a_slice_holds(
    driver: DaemonSet,
    many: None,
    claims: Claims,
    slices: Slices,
    bench: Bench,
    node: HostNode,
) -> None:
    assert len(slices.read()) > 1
    template = claims.template(request("npu", CLASS))
    said = failed_prepares(bench)
    began = monotonic()
    with ThreadPoolExecutor(8) as threads:
        pods = list(threads.map(lambda _: claims.pod(template=template), range(STORM)))
    try:
        wait_until(lambda: _running(bench) == STORM, what="all run", within_s=200.0)
        seconds = monotonic() - began
        made = bench.cluster.api.call("GET", CLAIMS)["items"]
        devices = [result["device"] for claim in made for result in results(claim)]
        assert len(devices) == len(set(devices)) == STORM
        assert len(_specs()) == STORM
        assert failed_prepares(bench) == said
        for pod in pods[:: STORM // 4]:
            given = claims.devices(pod.claim_name("npus"))
            assert npu_paths(pod.running()) == paths_of(node, given)
    finally:
        bench.cluster.api.call("DELETE", ALL_PODS)
    wait_until(lambda: not _specs(), what="all are unprepared", within_s=200.0)
    bench.report.add(
        f"{STORM} pods with claims at once on a node with {MORE + 4} NPUs",
        f"{len(slices.read())} slices; all run, no NPU in two, no prepare failed",
        seconds,
    )


def _running(bench: Bench) -> int:
    pods = bench.cluster.api.call("GET", ALL_PODS)["items"]
    return sum(pod["status"].get("phase") == "Running" for pod in pods)


def _specs() -> list[Path]:
    """The CDI specs of prepared claims."""
    return [*Path("/var/run/cdi").glob("rbln-claim-*")]

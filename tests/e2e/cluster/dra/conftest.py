"""What the tests of the DRA export have in common."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.conftest import make_report, save_table
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import Slices
from tests.e2e.cluster.dra.deployed import (
    DRIVER,
    both_exports,
    configure,
    device_names,
    dra_overlay,
)
from tests.e2e.cluster.history import History
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.setting import Places, cache_folder
from tests.e2e.report import Report


@pytest.fixture(scope="session")
def dra_report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Where the results of this folder go."""
    report = make_report()
    yield report
    save_table(request.config, report, Places(cache_folder()).dra)


@pytest.fixture
def bench(cluster: Cluster, history: History, dra_report: Report) -> Iterator[Bench]:
    """What a test does to the cluster, with the table of this folder."""
    with Bench(cluster, history, dra_report) as bench:
        yield bench


@pytest.fixture(scope="package")
def deployment(cluster: Cluster, kubectl: Kubectl, node: HostNode) -> Iterator[DaemonSet]:
    """The DaemonSet of overlays/dra with a pool of each export, for all tests of this folder."""
    daemonset = DaemonSet(cluster, kubectl)
    folder = dra_overlay(cluster.places.state / "dra", both_exports())
    daemonset.wait_ready(since=daemonset.apply(folder))
    yield daemonset
    daemonset.remove()


@pytest.fixture
def slices(bench: Bench) -> Slices:
    """The driver's slices."""
    return Slices(bench.cluster, DRIVER)


@pytest.fixture
def driver(deployment: DaemonSet, slices: Slices) -> DaemonSet:
    """The DaemonSet with its NPUs published, and none of them tainted, before each test.

    A test that failed may have left another configuration.
    """
    configure(deployment, both_exports())
    deployment.wait(
        lambda: (
            set(devices := slices.devices()) == device_names()
            and not any(device.get("taints") for device in devices.values())
        ),
        what="the NPUs are published, without taints",
    )
    return deployment

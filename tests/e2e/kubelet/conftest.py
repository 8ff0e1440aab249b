"""One cluster, one node with devices, and a system under test for each way of registration."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kubelet import build, host
from tests.e2e.kubelet.api import NodeWatch
from tests.e2e.kubelet.bench import Bench
from tests.e2e.kubelet.cluster import Cluster, only_one
from tests.e2e.kubelet.history import History
from tests.e2e.kubelet.node import HostNode
from tests.e2e.kubelet.plugin import WAYS, Plugin
from tests.e2e.kubelet.report import Report
from tests.e2e.kubelet.setting import CannotRun, Places, cache_folder
from tests.sim.nodes import paired
from tests.system.scene import ATOM, TWO_POOLS, VM


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Where results go; printed at the end."""
    report = Report()
    yield report
    report.write(Places(cache_folder()).results)


@pytest.fixture(scope="session")
def cluster(report: Report) -> Iterator[Cluster]:
    """The cluster; skips where there can't be one."""
    places = Places(cache_folder())
    try:
        host.check()
        build.check(places)
        with only_one(places), Cluster(places) as cluster:
            yield cluster
    except CannotRun as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def history(cluster: Cluster) -> Iterator[History]:
    """What the node's status said."""
    history = History()
    with NodeWatch(cluster.api, history):
        yield history


@pytest.fixture(scope="session")
def home(cluster: Cluster) -> Path:
    """A folder with a short path, for sockets; it goes with the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="rbe-", dir="/tmp"))
    cluster.traces.add_folder(folder)
    return folder


@pytest.fixture(scope="session")
def node(cluster: Cluster, home: Path) -> HostNode:
    """Four ATOM+ NPUs in pairs on two NUMA nodes, and two for virtual machines."""
    try:
        node = HostNode(home / "n", cluster.traces)
        paired(node)
    except CannotRun as reason:
        pytest.skip(str(reason))
    return node


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """A way of registration."""
    return str(request.param)


@pytest.fixture(scope="session")
def running(
    cluster: Cluster, history: History, node: HostNode, home: Path, way: str, report: Report
) -> Iterator[Plugin]:
    """A supervisor that registers this way; tests leave it running."""
    with Plugin(home / way, node.root, TWO_POOLS, way, cluster.traces) as plugin:
        plugin.serves(ATOM, VM)
        yield plugin


@pytest.fixture
def plugin(running: Plugin, history: History) -> Plugin:
    """A supervisor whose pools are all listed, before each test."""
    if not running.runs:
        running.start()
    running.serves(ATOM, VM)
    history.wait_for(ATOM, 4, 4)
    history.wait_for(VM, 2, 2)
    return running


@pytest.fixture
def bench(cluster: Cluster, history: History, report: Report) -> Iterator[Bench]:
    """What a test does to the cluster; its pods are gone afterwards."""
    with Bench(cluster, history, report) as bench:
        yield bench


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of results."""
    results = Places(cache_folder()).results
    if results.exists():
        terminalreporter.section("results")
        terminalreporter.write_line(results.read_text())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that leave another kubelet behind come last."""
    items.sort(key=lambda item: item.path.stem == "test_numa")

"""One cluster, one node with devices, and the plugin on it: as shipped, or on the host."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster import build, host, shipped_image
from tests.e2e.cluster.api import NodeWatch
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster, only_one
from tests.e2e.cluster.daemonset import DaemonSet, two_pools
from tests.e2e.cluster.dra.claims import Claims
from tests.e2e.cluster.history import History
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin import WAYS, Plugin
from tests.e2e.cluster.pod_report import PodReport
from tests.e2e.cluster.setting import Places, cache_folder, kubernetes_version, pinned_version
from tests.e2e.report import Report, Table
from tests.sim.device import SimDevice
from tests.sim.nodes import paired
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, VM

TABLES: Final = pytest.StashKey[list[Table]]()


def make_report() -> Report:
    """An empty table of results."""
    containerd = pinned_version("runtime", "github.com/containerd/containerd/v2")
    return Report(f"Kubernetes {kubernetes_version()}, containerd {containerd}")


def save_table(config: pytest.Config, table: Table, path: Path) -> None:
    """Have a table printed at the end; it replaces the last one if the tests were not chosen."""
    config.stash.setdefault(TABLES, []).append(table)
    chosen = any("::" in one or one.endswith(".py") for one in config.args)
    if not chosen and not config.option.keyword:
        table.write(path)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Where results go."""
    report = make_report()
    yield report
    save_table(request.config, report, Places(cache_folder()).results)


@pytest.fixture(scope="session")
def pod_report(request: pytest.FixtureRequest) -> Iterator[PodReport]:
    """Where it goes what pods had and have."""
    report = PodReport()
    yield report
    save_table(request.config, report, Places(cache_folder()).pods)


@pytest.fixture(scope="session")
def cluster(report: Report) -> Iterator[Cluster]:
    """The cluster with the shipped image; skips where there can't be one."""
    places = Places(cache_folder())
    try:
        host.check()
        build.check(places)
        with only_one(places), Cluster(places) as cluster:
            report.add("cluster started", "the node is Ready", cluster.started_s)
            cluster.import_image(shipped_image.archive(places))
            yield cluster
    except CannotRun as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """Kubectl and Helm for it."""
    return Kubectl(cluster.places)


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
def node(cluster: Cluster) -> HostNode:
    """Four ATOM+ NPUs in pairs on two NUMA nodes, and two for virtual machines."""
    try:
        node = HostNode(cluster.node_root, cluster.traces)
        paired(node)
    except CannotRun as reason:
        pytest.skip(str(reason))
    return node


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """A way of registration."""
    return str(request.param)


@pytest.fixture(scope="module")
def running(
    cluster: Cluster, history: History, node: HostNode, home: Path, way: str
) -> Iterator[Plugin]:
    """A supervisor on the host that registers this way; tests leave it running."""
    with Plugin(home / way, node.root, TWO_POOLS, way, cluster.traces) as plugin:
        plugin.serves(ATOM, VM)
        yield plugin


@pytest.fixture
def plugin(running: Plugin, history: History) -> Plugin:
    """A supervisor on the host whose pools are all listed, before each test."""
    if not running.runs:
        running.start()
    running.serves(ATOM, VM)
    for name, full in FULL.items():
        history.wait_for(name, full, full)
    return running


@pytest.fixture(scope="module")
def uninstalled(cluster: Cluster, kubectl: Kubectl, node: HostNode) -> Iterator[DaemonSet]:
    """The DaemonSet, for tests that install it themselves; none is left behind."""
    daemonset = DaemonSet(cluster, kubectl)
    yield daemonset
    daemonset.remove()


@pytest.fixture(scope="module")
def installed(uninstalled: DaemonSet, history: History) -> DaemonSet:
    """The DaemonSet with two pools, for a module's tests."""
    since = uninstalled.apply(two_pools(uninstalled.cluster.places.state / "two-pools"))
    uninstalled.wait_ready(since=since)
    for name, full in FULL.items():
        history.wait_for(name, full, full)
    return uninstalled


@pytest.fixture
def plugged(node: HostNode) -> Iterator[Mapping[str, SimDevice]]:
    """The NPUs as they are; each is back, under its own number, after the test."""
    before = {bdf: node.devices[bdf] for bdf in ATOMS}
    yield before
    for bdf in ATOMS:
        if bdf in node.devices:
            node.remove(bdf)
    node.add(*before.values())


@pytest.fixture
def bench(cluster: Cluster, history: History, report: Report) -> Iterator[Bench]:
    """What a test does to the cluster; its pods are gone afterwards."""
    with Bench(cluster, history, report) as bench:
        yield bench


@pytest.fixture
def claims(bench: Bench, kubectl: Kubectl) -> Iterator[Claims]:
    """What a test makes of resource.k8s.io; gone afterwards."""
    with Claims(bench, kubectl) as claims:
        yield claims


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The tables of results."""
    for table in config.stash.get(TABLES, []):
        terminalreporter.section(table.title)
        terminalreporter.write_line(table.text())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that leave another kubelet behind come last."""
    items.sort(key=lambda item: item.path.stem == "test_numa")


def pytest_configure(config: pytest.Config) -> None:
    """Marks of this suite."""
    config.addinivalue_line("markers", "by_release: what differs between releases of Kubernetes")

"""Updates and deaths, as the node's status, running pods and new pods see them."""

import signal
from collections.abc import Iterator
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.history import History
from tests.e2e.cluster.setting import at_least
from tests.system.scene import ATOM, VM

pytestmark = pytest.mark.by_release

UNMOVED: Final = (ATOM, VM) if at_least(37) else ()
"""What an update never moves. Older kubelets keep one endpoint by name: when the old pod ends, they
end the new one's stream once, and it registers again (docs/reference/kubelet-behaviour.md)."""


def restart(daemonset: DaemonSet) -> float:
    """``kubectl rollout restart``; when it was called."""
    began = monotonic()
    daemonset.kubectl("rollout", "restart", f"daemonset/{NAME}", "--namespace", NAMESPACE)
    return began


def test_rollout_restart(installed: DaemonSet, bench: Bench) -> None:
    container = bench.pod({ATOM: 2}).running()
    old = installed.pod()
    with bench.untouched(container, resources=UNMOVED):
        seconds = installed.wait_ready(since=restart(installed))
        assert installed.pod() != old
        new = bench.pod({ATOM: 2}).running()
        bench.settled(ATOM)
    assert new.untouched()
    bench.report.add("kubectl rollout restart", f"{bench.blip(ATOM)}; pods ran on", seconds)


def test_the_new_exporter_waits_for_its_port(installed: DaemonSet, bench: Bench) -> None:
    """Both pods are on the node's network: the old one's exporter has the port until it ends."""
    installed.wait_ready(since=restart(installed))
    installed.wait(lambda: "exporter: serving" in installed.log(), what="the new exporter serves")
    lines = [line for line in installed.log().splitlines() if "exporter" in line]
    assert sum("in use" in line for line in lines) <= 1, lines
    assert not [line for line in lines if "exited" in line], lines
    bench.report.add("the new pod's exporter", "waits for the port, says so once, then serves")


def test_a_killed_worker(installed: DaemonSet, bench: Bench) -> None:
    container = bench.pod({ATOM: 2}).running()
    before = installed.status().pools[ATOM].worker.pid
    with bench.untouched(container, resources=(VM,)):
        began = monotonic()
        assert installed.run("sh", "-c", f"kill -9 {before}").returncode == 0
        installed.wait(
            lambda: (
                (pool := installed.status().pools[ATOM]).registered and pool.worker.pid != before
            ),
            what="another worker is registered",
        )
        seconds = monotonic() - began
        bench.settled(ATOM)
        bench.pod({ATOM: 2}).running()
    bench.report.add("a worker is killed", str(bench.blip(ATOM)), seconds)


def test_a_killed_supervisor(installed: DaemonSet, bench: Bench) -> None:
    container = bench.pod({ATOM: 2}).running()
    before = installed.status()
    with bench.untouched(container, resources=(ATOM, VM)):
        began = monotonic()
        assert installed.run("sh", "-c", f"kill -9 {before.supervisor.pid}").returncode == 0
        installed.wait(
            lambda: (
                installed.run("rbln-ctl", "probe", "ready").returncode == 0
                and installed.status().supervisor.pid != before.supervisor.pid
            ),
            what="another supervisor serves",
        )
        seconds = monotonic() - began
        bench.settled(ATOM)
    assert installed.status().pools[ATOM].worker.pid == before.pools[ATOM].worker.pid
    bench.report.add("the supervisor is killed", f"{bench.blip(ATOM)}; same workers", seconds)


def test_a_killed_supervisord(installed: DaemonSet, bench: Bench, history: History) -> None:
    """PID 1 of the container: all of it goes, and the kubelet starts the container again."""
    container = bench.pod({ATOM: 2}).running()
    status = installed.container_status()
    with bench.untouched(container):
        began = monotonic()
        bench.cluster.kill_container(status["containerID"])
        dark = history.wait_for(ATOM, 0, FULL[ATOM], since=began)
        back = history.wait_for(ATOM, FULL[ATOM], FULL[ATOM], since=dark)
        installed.wait(
            lambda: (
                (now := installed.container_status()).get("ready")
                and now["restartCount"] > status["restartCount"]
            ),
            what="the container is ready again",
        )
        bench.pod({ATOM: 2}).running()
    assert installed.container_status()["restartCount"] == status["restartCount"] + 1
    bench.report.add("supervisord is killed", str(bench.blip(ATOM)), back - began)


def test_a_restarted_kubelet(installed: DaemonSet, bench: Bench, cluster: Cluster) -> None:
    container = bench.pod({ATOM: 2}).running()
    before = installed.endpoints()
    with bench.untouched(container):
        cluster.stop_kubelet()
        began = monotonic()
        cluster.start_kubelet()
        cluster.wait_kubelet()
        up = monotonic()
        installed.wait_new_endpoints(before)
        back = monotonic()
        bench.settled(ATOM)
        new = bench.pod({ATOM: 2}).running()
    assert new.untouched()
    bench.report.add(
        "the kubelet restarts",
        f"up after {up - began:.1f} s; pods ran on, a new one runs",
        back - began,
    )


def test_a_restarted_containerd(installed: DaemonSet, bench: Bench, cluster: Cluster) -> None:
    container = bench.pod({ATOM: 2}).running()
    with bench.untouched(container, resources=(ATOM, VM)):
        began = monotonic()
        cluster.daemons.stop("containerd", signal.SIGKILL)
        cluster.start_containerd()
        new = bench.pod({ATOM: 2})
        new.running()
        seconds = monotonic() - began
        restarts = installed.container_status()["restartCount"]
        unready = installed.wait(
            lambda: installed.container_status()["ready"], what="the plugin's pod is ready"
        )
        assert installed.container_status()["restartCount"] == restarts
    bench.report.add(
        "containerd is killed and started",
        f"allocatable never moved, containers ran on, then a new pod; the plugin's pod is Ready "
        f"{unready:.1f} s later",
        seconds,
    )


@pytest.fixture
def released(uninstalled: DaemonSet, history: History) -> Iterator[DaemonSet]:
    uninstalled.remove()
    uninstalled.wait_ready(since=uninstalled.helm("install"))
    history.wait_for(ATOM, FULL[ATOM], FULL[ATOM])
    yield uninstalled
    uninstalled.remove()


def test_upgrade_and_rollback(released: DaemonSet, bench: Bench) -> None:
    container = bench.pod({ATOM: 2}).running()
    with bench.untouched(container, resources=UNMOVED[:1]):
        since = released.helm("upgrade", "--set", "podAnnotations.round=two")
        upgraded = released.wait_ready(since=since)
        bench.settled(ATOM)
        began = monotonic()
        released.kubectl.helm("rollback", NAME, "1", "--namespace", NAMESPACE)
        rolled_back = released.wait_ready(since=began)
        bench.settled(ATOM)
        new = bench.pod({ATOM: 2}).running()
    assert new.untouched()
    bench.report.add("helm upgrade", str(bench.blip(ATOM)), upgraded)
    bench.report.add("helm rollback", "the same; a new pod runs", rolled_back)

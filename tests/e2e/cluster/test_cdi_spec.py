"""A CDI spec is right as long as a pod may start again by it, whatever the mode is by then."""

from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster import reboot
from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.deployed import AsUnit, Deployed, InPod
from tests.e2e.cluster.kubelet_log import SERVES, KubeletLog
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pod_report import PodReport
from tests.e2e.cluster.pods import Container, Pod, given
from tests.e2e.cluster.reboot_scene import npus_of, swapped, unit
from tests.system.scene import ATOM, ATOMS, eventually

SPEC: Final = Path("/var/run/cdi/sriov-dp-rebellions.ai-net-accel-ATOM.yaml")
REMOVALS: Final = 5


class WithoutCdi:
    """A pod that was given an NPU by CDI, of a plugin that has gone back to a mode without."""

    def __init__(self, bench: Bench, node: HostNode, report: PodReport) -> None:
        self._bench = bench
        self._node = node
        self._report = report
        self.pod: Pod = bench.pod({ATOM: 1}, restarts=True)
        self.container = self.pod.running()
        (self.device,) = given(self.container, ATOM)
        self.had = f"{self.device} at {node.path(self.device)}"

    def restarts(self, what: str, deployed: Deployed) -> None:
        """Its container ends, and starts again with the node that its NPU has now."""
        began = monotonic()
        self._bench.cluster.kill_container(self.container.id)
        again = self.pod.restarted(self.container)
        self.is_right(again, what, deployed, monotonic() - began)

    def is_right(self, again: Container, what: str, deployed: Deployed, seconds: float) -> None:
        """The container has its NPU and nothing else, wherever that is now."""
        assert given(again, ATOM) == [self.device]
        assert npus_of(again, self._node) == {self.device}
        assert deployed.status().pools[ATOM].devices[self.device].health == "Healthy"
        self.container = again
        self._report.add(
            what,
            deployed.kind,
            cdi=True,
            had=self.had,
            has=f"{self.device} at {self._node.path(self.device)}",
            shown="Running, restarted in place by the spec that is there still",
            seconds=seconds,
        )

    def numbers_swap(self, deployed: Deployed) -> None:
        """The driver is loaded again, and swaps the NPU's number with that of a free one."""
        other = next(bdf for bdf in ATOMS if bdf != self.device)
        before = SPEC.read_text()
        swapped(self._node, self.device, other)
        deployed.rescan()
        eventually(lambda: SPEC.read_text() != before, what="the spec has the node of today")


@pytest.mark.by_release
def test_a_pod_starts_again_by_cdi_after_helm_rollback(
    uninstalled: DaemonSet, bench: Bench, node: HostNode, plugged: object, pod_report: PodReport
) -> None:
    uninstalled.remove()
    uninstalled.wait_ready(since=uninstalled.helm("install"))
    uninstalled.helm("upgrade", "--set", "useCdi=true")
    uninstalled.wait(uninstalled.is_observed, what="the update has begun")
    uninstalled.wait_ready(since=0.0)
    bench.history.wait_for(ATOM, FULL[ATOM], FULL[ATOM])
    scene = WithoutCdi(bench, node, pod_report)
    assert SPEC.exists()
    uninstalled.kubectl.helm("rollback", NAME, "1", "--namespace", NAMESPACE)
    uninstalled.wait(uninstalled.is_observed, what="the rollback has begun")
    uninstalled.wait_ready(since=0.0)
    deployed = InPod(uninstalled, cdi=False)
    scene.numbers_swap(deployed)
    scene.restarts("helm rollback to useCdi: false, two numbers swap; its container ends", deployed)


def test_a_pod_starts_again_by_cdi_after_a_change_of_mode(
    cluster: Cluster,
    bench: Bench,
    node: HostNode,
    plugged: object,
    home: Path,
    pod_report: PodReport,
) -> None:
    with unit(cluster, node, home, "--use-cdi") as with_cdi:
        bench.all_allocatable()
        scene = WithoutCdi(bench, node, pod_report)
        with_cdi.stop()
        with unit(cluster, node, home) as plugin:
            deployed = AsUnit(plugin, cdi=False)
            scene.numbers_swap(deployed)
            scene.restarts("--use-cdi taken away, two numbers swap; its container ends", deployed)
            log = KubeletLog(cluster.daemons.log("kubelet"))
            cluster.stop_kubelet()
            plugin.lose_power()
            reboot.power_off(cluster, clean=False)
            plugin.start_as_unit()
            reboot.power_on(cluster)
            again = scene.pod.restarted(scene.container)
            seconds = log.seconds_since(SERVES)
            scene.is_right(again, "--use-cdi is taken away; reboot", deployed, seconds)


@pytest.mark.by_release
def test_a_spec_that_somebody_removes_is_back_at_once(
    cluster: Cluster, bench: Bench, node: HostNode, home: Path, pod_report: PodReport
) -> None:
    with unit(cluster, node, home, "--use-cdi") as plugin:
        bench.all_allocatable()
        pod = bench.pod({ATOM: 1}, restarts=True)
        container = pod.running()
        (device,) = given(container, ATOM)
        took = []
        for _ in range(REMOVALS):
            SPEC.unlink()
            began = monotonic()
            eventually(SPEC.exists, what="the spec is there again")
            took.append(monotonic() - began)
        SPEC.unlink()
        cluster.kill_container(container.id)
        again = pod.restarted(container)
        assert npus_of(again, node) == {device}
        assert "the CDI spec was removed and is written again" in plugin.log
        pod_report.add(
            "the CDI spec is removed by hand; its container ends",
            "unit",
            cdi=True,
            had=f"{device} at {node.path(device)}",
            has="the same",
            shown=f"Running, restarted in place; the spec is back after {max(took) * 1000:.0f} ms "
            f"at most (of {REMOVALS} removals, looked for every 20 ms)",
            seconds=max(took),
        )

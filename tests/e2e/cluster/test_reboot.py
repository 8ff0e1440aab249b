"""After a reboot pods run with the devices that they had, or not at all: never with others."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from rbln_supervisor.core.status import DeviceStatus
from tests.bench.scene import SIZES, config, npus
from tests.e2e.cluster import reboot
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.kubelet_log import ADMITS, LISTED, SERVES, KubeletLog
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin import Plugin
from tests.e2e.cluster.pod_report import PodReport
from tests.e2e.cluster.pods import Container, given
from tests.e2e.cluster.reboot_scene import (
    BY_RELEASE,
    CASES,
    Case,
    Change,
    Scene,
    npus_of,
    start_unit,
    swapped,
    unit,
)
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.system.scene import ATOM, VM

Plugged = Mapping[str, SimDevice]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.by_release] * (number in BY_RELEASE))
        for number, case in enumerate(CASES)
    ],
)
def test_pods_of_a_unit_come_back_in_place_or_not_at_all(
    cluster: Cluster,
    bench: Bench,
    node: HostNode,
    plugged: Plugged,
    home: Path,
    pod_report: PodReport,
    case: Case,
) -> None:
    with unit(cluster, node, home, *["--use-cdi"] * case.cdi) as plugin:
        bench.all_allocatable()
        scene = Scene(bench, node)
        log = KubeletLog(cluster.daemons.log("kubelet"))
        with reboot.busy_loops(os.cpu_count() or 1 if case.busy else 0):
            cluster.stop_kubelet()
            if case.clean:
                plugin.stop()
            plugin.lose_power()
            reboot.power_off(cluster, clean=case.clean)
            if case.change:
                case.change(node, scene.devices[0], scene.free)
            first = start_unit(plugin, node, late=case.late)
            reboot.power_on(cluster)
            containers = scene.restarted()
            seconds = log.seconds_since(SERVES)
        listed = max(log.first(LISTED, f'resource="{name}"') for name in (ATOM, VM))
        admits = log.first(ADMITS, scene.bare.name)
        # Where the API server answers the new kubelet within a millisecond, it does not wait the
        # second that it waits otherwise, and admits pods before any plugin could call.
        in_time = log.first(LISTED, f'resource="{ATOM}"') < admits
        for index, container in enumerate(containers):
            device = scene.devices[index]
            may_start = scene.may_start(index, cdi=case.cdi)
            assert (first[device].health == "Healthy") == may_start, plugin.log
            assert (container is not None) == (may_start and in_time), plugin.log
            if container is not None:
                assert scene.pods[index].uid == scene.uids[index]
                assert given(container, ATOM) == [device]
                assert npus_of(container, node) == {device}
        if containers[1] is None:  # its ReplicaSet makes another pod
            another = scene.deployment.pod(besides=scene.replica.name).running(deadline_s=60.0)
            assert npus_of(another, node) == set(given(another, ATOM))
            containers[1] = another
        reach = [npus_of(each, node) for each in containers if each is not None]
        assert len(set().union(*reach)) == len(reach)
    device = scene.devices[0]
    pod_report.add(
        f"reboot ({case.what})" + ", beside busy loops" * case.busy,
        "unit",
        cdi=case.cdi,
        had=f"{device} at {scene.paths[0]}",
        has=_has(containers[0], node),
        shown=_shown(first[device], containers[0], listed - log.first(SERVES), admits - listed),
        seconds=seconds,
    )


def _has(container: Container | None, node: HostNode) -> str:
    if container is None:
        return "nothing: it does not run"
    return ", ".join(f"{bdf} at {node.path(bdf)}" for bdf in sorted(npus_of(container, node)))


def _shown(
    device: DeviceStatus, container: Container | None, listed_s: float, ahead_s: float
) -> str:
    listed = f"{_ms(listed_s)} after kubelet.sock"
    if container is not None:
        return f"Running, the same pod; pools listed {listed}, {_ms(ahead_s)} before its admission"
    if ahead_s < 0:
        return f"Failed, UnexpectedAdmissionError: admitted {_ms(-ahead_s)} before our list"
    return f"Failed, UnexpectedAdmissionError; rbln-ctl before that: {device.reason}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(None, id="same numbers", marks=pytest.mark.by_release),
        pytest.param(swapped, id="numbers swapped"),
    ],
)
def test_pods_of_a_daemonset_fail_and_others_are_made(
    installed: DaemonSet,
    cluster: Cluster,
    bench: Bench,
    node: HostNode,
    plugged: Plugged,
    pod_report: PodReport,
    change: Change | None,
) -> None:
    bench.all_allocatable()
    scene = Scene(bench, node)
    log = KubeletLog(cluster.daemons.log("kubelet"))
    reboot.power_off(cluster, clean=False)
    if change:
        change(node, scene.devices[0], scene.free)
    reboot.power_on(cluster)
    reason = scene.bare.refused()
    another = scene.deployment.pod(besides=scene.replica.name).running(deadline_s=60.0)
    seconds = log.seconds_since(SERVES)
    assert reason == scene.replica.refused() == "UnexpectedAdmissionError"
    assert npus_of(another, node) == set(given(another, ATOM))
    installed.wait_ready(since=0.0)
    bench.all_allocatable()
    pod_report.add(
        "reboot (a power cut)" if change is None else f"reboot ({CASES[-1].what})",
        "DaemonSet",
        cdi=False,
        had=f"{scene.devices[0]} at {scene.paths[0]}",
        has="nothing: it does not run; the Deployment's new pod " + _has(another, node),
        shown=f"Failed, {reason}; the seconds are those of the Deployment's new pod",
        seconds=seconds,
    )


def test_a_kubelet_that_returns_has_many_pools_at_once(
    cluster: Cluster, bench: Bench, home: Path
) -> None:
    """1,024 NPUs in eight pools, of a node whose /dev is made of plain files."""
    root = home / "many"
    node, size = SimNode(root), SIZES["middle"]
    (root / "var").symlink_to("/var")
    devices = npus(size.devices)
    node.add(*devices)
    with Plugin(home / "m", root, config(size, devices), "kubelet-sock", cluster.traces) as plugin:
        plugin.serves(*size.resources)
        log = KubeletLog(cluster.daemons.log("kubelet"))
        cluster.restart_kubelet()
        plugin.serves(*size.resources)
        for name in size.resources:
            bench.history.wait_for(name, size.each, size.each)
    began = log.first(SERVES)
    listed = [log.first(LISTED, f'resource="{name}"') - began for name in size.resources]
    bench.report.add(
        f"the kubelet restarts beside a plugin with {size.devices} NPUs in {size.pools} pools",
        f"the first pool listed {min(listed) * 1000:.0f} ms after it takes registrations, the last "
        f"after {max(listed) * 1000:.0f} ms",
        max(listed),
    )

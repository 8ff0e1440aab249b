"""``kubectl rbln`` shows all nodes at once; the real kubectl finds and runs it."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import NAMESPACE, DaemonSet
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.setting import NODE
from tests.system.scene import ATOM, ATOMS, VM, eventually

GONE: Final = "gone"
"""A node without a kubelet, with a pod of the plugin."""


def rbln(kubectl: Kubectl, *words: str) -> subprocess.CompletedProcess[str]:
    return kubectl.tried("rbln", *words)


def results(kubectl: Kubectl, *words: str) -> dict[str, Any]:
    done = rbln(kubectl, *words, "--json")
    nodes: dict[str, Any] = json.loads(done.stdout)["nodes"]
    return nodes


@pytest.fixture
def gone(installed: DaemonSet, kubectl: Kubectl) -> Iterator[None]:
    """A second node, which has a pod of the plugin and nobody that runs it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "rbln-device-plugin-gone",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "rbln-device-plugin"},
        },
        "spec": {"nodeName": GONE, "containers": [{"name": "plugin", "image": "none"}]},
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": GONE, "labels": {"npu": "no"}}}
    for one in (node, pod):
        kubectl("create", "--filename", "-", stdin=json.dumps(one))
    yield
    kubectl(
        *("delete", "pod", "rbln-device-plugin-gone", "--namespace", NAMESPACE),
        *("--force", "--grace-period", "0"),
    )
    kubectl("delete", "node", GONE)


def test_pools_devices_and_pods_of_a_node(
    installed: DaemonSet, kubectl: Kubectl, bench: Bench
) -> None:
    bench.all_allocatable()
    pod = bench.pod({ATOM: 2})
    pod.running()

    def held() -> bool:
        pools = results(kubectl, "status")[NODE]["result"]["pools"]
        devices = pools[ATOM]["devices"].values()
        return sum(bool(one["pods"]) for one in devices) == 2

    eventually(held, what="two devices are in a pod")
    status = rbln(kubectl, "status")
    assert status.returncode == 0, status.stderr
    lines = [line.split() for line in status.stdout.splitlines()]
    assert [NODE, ATOM, "serving", "4/4", "2"] in lines
    assert [NODE, VM, "serving", "2/2", "0"] in lines
    devices = rbln(kubectl, "status", "--devices").stdout.splitlines()
    assert sum(pod.name in line for line in devices) == 2
    top = [line.split() for line in rbln(kubectl, "top").stdout.splitlines()]
    assert [NODE, ATOM, "4", "4", "2", "2", "0"] in top


def test_a_fault_is_in_every_view(
    installed: DaemonSet, kubectl: Kubectl, bench: Bench, node: HostNode
) -> None:
    bench.all_allocatable()
    assert rbln(kubectl, "doctor").returncode == 0
    node.remove_dev_node("rbln3")
    try:
        bench.history.wait_for(ATOM, 3, 4)
        unhealthy = rbln(kubectl, "status", "--unhealthy").stdout.splitlines()
        (row,) = (line for line in unhealthy if ATOMS[3] in line)
        assert "Unhealthy" in row
        assert "/dev/rbln3" in row
        doctor = rbln(kubectl, "doctor")
        assert doctor.returncode == 1
        assert ATOMS[3] in doctor.stdout
        assert "next: " in doctor.stdout
        explained = rbln(kubectl, "explain", ATOMS[3])
        assert (explained.returncode, "Unhealthy" in explained.stdout) == (0, True)
        events = rbln(kubectl, "events", "--since", "5m").stdout.splitlines()
        assert any(NODE in line and ATOMS[3] in line and "Unhealthy" in line for line in events)
    finally:
        node.add_dev_node("rbln3")
    bench.history.wait_for(ATOM, 4, 4)


def test_a_node_that_cannot_be_asked_is_named(gone: None, kubectl: Kubectl, bench: Bench) -> None:
    bench.all_allocatable()
    done = rbln(kubectl, "status")
    assert done.returncode == 3
    assert f"{GONE}: its pod rbln-device-plugin-gone does not run: Pending" in done.stderr
    assert ATOM in done.stdout
    assert results(kubectl, "status")[GONE]["result"] is None
    assert rbln(kubectl, "status", "--node", NODE).returncode == 0
    assert rbln(kubectl, "top", "--selector", "npu!=no").returncode == 0
    assert rbln(kubectl, "top", "--selector", "npu=no").returncode == 3
    nowhere = rbln(kubectl, "status", "--node", "nowhere")
    assert (nowhere.returncode, nowhere.stdout) == (3, "")
    assert "nowhere: it has no pod of the device plugin" in nowhere.stderr


def test_wrong_usage_and_a_device_that_no_node_has(installed: DaemonSet, kubectl: Kubectl) -> None:
    assert rbln(kubectl, "tell").returncode == 2
    assert rbln(kubectl, "events", "--since", "yesterday").returncode == 2
    unknown = rbln(kubectl, "explain", "0000:ff:1f.7")
    assert unknown.returncode == 1
    assert "0000:ff:1f.7" in unknown.stderr
    wrong = rbln(kubectl, "status", "--context", "none-such")
    assert (wrong.returncode, "none-such" in wrong.stderr) == (3, True)

"""Slices: what they say, and how they survive a kubelet and an API server."""

import os
import signal
from time import monotonic
from typing import Final

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.dra.claims import Claims, Slices, wait_until
from tests.e2e.cluster.dra.deployed import (
    CLASS,
    DRIVER,
    PCIE_ROOT,
    bdf_of,
    device_names,
    npu_paths,
)
from tests.e2e.cluster.dra.objects import attribute, request
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Container
from tests.e2e.cluster.setting import NODE
from tests.system.scene import ATOMS, VM

AWAY_S: Final = 60.0


@pytest.mark.by_release
def test_slices_say_what_claims_select_by(
    driver: DaemonSet, slices: Slices, bench: Bench, node: HostNode
) -> None:
    found = slices.read()
    owner = bench.cluster.api.call("GET", f"/api/v1/nodes/{NODE}")["metadata"]["uid"]
    for one in found:
        assert one["spec"]["nodeName"] == one["spec"]["pool"]["name"] == NODE
        assert one["spec"]["pool"]["resourceSliceCount"] == len(found)
        (reference,) = one["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["uid"]) == ("Node", owner)
    for name, device in slices.devices().items():
        plugged = node.devices[bdf_of(name)]
        assert attribute(device, "resource.kubernetes.io/pciBusID") == plugged.bdf
        assert attribute(device, PCIE_ROOT) == f"pci{plugged.parents[0][:7]}"
        assert attribute(device, "productName") == "RBLN-CA22"
        assert attribute(device, "type") == "npu"
    assert VM in driver.status().pools
    bench.report.add("kubectl apply -k overlays/dra", f"slices of {DRIVER} with 4 NPUs")


@pytest.mark.by_release
def test_slices_that_a_kubelet_wipes_at_its_start_are_made_again(
    driver: DaemonSet, claims: Claims, slices: Slices, bench: Bench, cluster: Cluster
) -> None:
    container = claims.pod(template=claims.template(request("npu", CLASS))).running()
    before = {one["metadata"]["uid"] for one in slices.read()}
    with bench.untouched(container):
        cluster.stop_kubelet()
        cluster.start_kubelet()
        cluster.wait_kubelet()
        seconds = wait_until(
            lambda: (
                set(slices.devices()) == device_names()
                and not before & {one["metadata"]["uid"] for one in slices.read()}
            ),
            what="the kubelet has wiped the slices, and new ones are there",
        )
        claims.pod(template=claims.template(request("npu", CLASS))).running()
    bench.report.add(
        "the kubelet restarts", "slices wiped by it and made again; pods ran on", seconds
    )


@pytest.mark.by_release
def test_slices_that_somebody_deletes_are_made_again(
    driver: DaemonSet, slices: Slices, bench: Bench
) -> None:
    slices.delete()
    seconds = slices.wait(
        lambda devices: set(devices) == device_names(), what="slices are there again"
    )
    bench.report.add("kubectl delete resourceslices", "made again", seconds)


def test_an_api_server_that_hangs_for_a_minute_costs_running_pods_nothing(
    driver: DaemonSet,
    claims: Claims,
    slices: Slices,
    bench: Bench,
    cluster: Cluster,
    node: HostNode,
) -> None:
    container = claims.pod(template=claims.template(request("npus", CLASS, 2))).running()
    vms = bench.pod({VM: 1}).running()
    plugin = Container(cluster, driver.container_status()["containerID"])
    pid = cluster.daemons.pid("kube-apiserver")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    end = monotonic() + AWAY_S
    try:
        with bench.untouched(container, vms):
            node.remove_dev_node("rbln3")
            wait_until(
                lambda: "api-server-unreachable" in plugin.run("rbln-ctl", "status", "--json"),
                what="the status says that the API server is not reached",
            )
            wait_until(lambda: monotonic() > end, what="a minute is over", within_s=2 * AWAY_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(cluster.api.ready, what="the API server serves again")
    came = slices.wait(
        lambda devices: (
            [name for name, one in devices.items() if one.get("taints")]
            == [ATOMS[3].replace(":", "-").replace(".", "-")]
        ),
        what="what happened meanwhile is in the slice",
    )
    node.add_dev_node("rbln3")
    slices.wait(
        lambda devices: not any(one.get("taints") for one in devices.values()),
        what="the device is healthy again",
    )
    assert len(npu_paths(claims.pod(template=claims.template(request("n", CLASS))).running())) == 1
    bench.report.add(
        "the API server hangs for a minute",
        "status says so, pods ran on; what became of a device meanwhile is in the slice after",
        came,
    )


def test_a_token_may_not_write_slices_of_another_node(driver: DaemonSet, bench: Bench) -> None:
    token = driver.run("cat", "/var/run/secrets/kubernetes.io/serviceaccount/token").stdout
    answer = driver.kubectl.tried(
        *("--token", token, "create", "--filename", "-"),
        stdin=_foreign_slice(),
    )
    assert answer.returncode != 0
    assert "node" in answer.stderr
    rights = driver.kubectl("auth", "can-i", "--list", "--token", token)
    assert "secrets" not in rights
    assert "pods " not in rights
    bench.report.add(
        "a token of the DaemonSet makes a slice of another node", answer.stderr.strip()
    )


def _foreign_slice() -> str:
    return f"""
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {{name: foreign}}
spec:
  driver: {DRIVER}
  nodeName: another
  pool: {{name: another, generation: 1, resourceSliceCount: 1}}
  devices: []
"""

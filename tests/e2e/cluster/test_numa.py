"""Two NUMA nodes and the policy single-numa-node: aligned devices, or none."""

import pytest

from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.history import History
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import given
from tests.system.scene import ATOM, VM


@pytest.fixture(scope="module")
def two_numa_nodes(cluster: Cluster, installed: DaemonSet, history: History) -> None:
    """A kubelet that sees two NUMA nodes and wants a pod's devices on one of them.

    The kubelet stays as it is: this module is the last one (conftest.py).
    """
    before = installed.endpoints()
    cluster.restart_kubelet(numa_nodes=2, topology_policy="single-numa-node")
    installed.wait_new_endpoints(before)
    for name, full in FULL.items():
        history.wait_for(name, full, full)


@pytest.mark.usefixtures("two_numa_nodes")
def test_devices_come_from_one_numa_node_or_not_at_all(bench: Bench, node: HostNode) -> None:
    numa = {bdf: device.numa for bdf, device in node.devices.items()}
    first = bench.pod({ATOM: 1}).running()
    (taken,) = given(first, ATOM)
    pair = bench.pod({ATOM: 2, VM: 1})
    got = [device for name in (ATOM, VM) for device in given(pair.running(), name)]
    assert {numa[device] for device in got} == {1 - numa[taken]}
    refused = bench.pod({ATOM: 2}).refused()
    assert refused == "TopologyAffinityError"
    bench.pod({ATOM: 1}).running()
    bench.report.add(
        "two NUMA nodes, single-numa-node; 1 NPU taken, then 2 NPUs and a function of the other "
        "pool wanted",
        "all three of the free NUMA node",
        pair.seconds,
    )
    bench.report.add("… then 2 where no NUMA node has 2", refused)

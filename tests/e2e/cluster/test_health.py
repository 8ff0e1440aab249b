"""A device that can't be used leaves the allocatable ones at once, and comes back."""

from time import monotonic

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.node import HostNode
from tests.system.scene import ATOM, ATOMS, VM


def test_a_device_without_its_node_is_not_allocatable(
    installed: DaemonSet, bench: Bench, node: HostNode
) -> None:
    container = bench.pod({ATOM: 4}).running()
    with bench.untouched(container, resources=(VM,)):
        began = monotonic()
        node.remove_dev_node("rbln3")
        lower = bench.history.wait_for(ATOM, 3, 4, since=began) - began
        began = monotonic()
        node.add_dev_node("rbln3")
        higher = bench.history.wait_for(ATOM, 4, 4, since=began) - began
    bench.report.add("an NPU's node in /dev is removed", "allocatable 4 → 3 of 4", lower)
    bench.report.add("… and made again", "3 → 4; the pod that holds it ran on", higher)


def test_a_device_without_its_driver_is_not_allocatable(
    installed: DaemonSet, bench: Bench, node: HostNode
) -> None:
    container = bench.pod({ATOM: 1}).running()
    with bench.untouched(container, resources=(VM,)):
        began = monotonic()
        node.unbind(ATOMS[3])
        installed.ctl("rescan")
        lower = bench.history.wait_for(ATOM, 3, 4, since=began) - began
        began = monotonic()
        node.bind(ATOMS[3], "rebellions")
        installed.ctl("rescan")
        higher = bench.history.wait_for(ATOM, 4, 4, since=began) - began
    bench.report.add("an NPU's driver is unbound, rbln-ctl rescan", "4 → 3 of 4", lower)
    bench.report.add("… and bound again, rbln-ctl rescan", "3 → 4", higher)

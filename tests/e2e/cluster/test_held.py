"""What a pod was given stays right: its devices stay listed, and nobody else gets their nodes."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pods import Pod, given
from tests.e2e.cluster.setting import at_least
from tests.sim.device import SimDevice
from tests.system.scene import ATOM, ATOMS

Plugged = Mapping[str, SimDevice]

pytestmark = pytest.mark.by_release


def shown_health(pod: Pod) -> dict[str, str]:
    """The health of its devices that the kubelet puts into the pod's status, by ID."""
    statuses: list[dict[str, Any]] = pod.status["containerStatuses"]
    return {
        resource["resourceID"]: resource["health"]
        for container in statuses
        for entry in container.get("allocatedResourcesStatus", ())
        for resource in entry["resources"]
    }


def restart(installed: DaemonSet) -> None:
    """Replace every process of ours."""
    installed.kubectl("rollout", "restart", f"daemonset/{NAME}", "--namespace", NAMESPACE)
    installed.wait(installed.is_observed, what="the update has begun")
    installed.wait_ready(since=0.0)


@pytest.fixture
def plugged(installed: DaemonSet, node: HostNode, bench: Bench) -> Iterator[Plugged]:
    """Every NPU is back, under its own number, after the test."""
    before = {bdf: node.devices[bdf] for bdf in ATOMS}
    yield before
    for bdf in ATOMS:
        if bdf in node.devices:
            node.remove(bdf)
    node.add(*before.values())
    installed.ctl("rescan")


def test_a_device_that_a_pod_holds_stays_listed_while_it_is_unplugged(
    installed: DaemonSet, bench: Bench, node: HostNode, plugged: Plugged
) -> None:
    pod = bench.pod({ATOM: 2})
    container = pod.running()
    gone, _ = sorted(given(container, ATOM))
    node.remove(gone)
    installed.ctl("rescan")
    bench.history.wait_for(ATOM, 3, 4)
    restart(installed)
    installed.ctl("rescan")
    device = installed.status().pools[ATOM].devices[gone]
    assert device.health == "Unhealthy"
    assert "default/" in installed.run("rbln-ctl", "explain", gone).stdout
    bench.history.wait_for(ATOM, 3, 4)
    seen = "the pod holds it: listed as Unhealthy, also after an update while it was away"
    if at_least(36):
        installed.wait(
            lambda: shown_health(pod).get(gone) == "Unhealthy", what="the pod's status says so"
        )
        seen += "; allocatedResourcesStatus of the pod says Unhealthy"
    assert container.untouched()
    bench.report.add("an NPU is unplugged while a pod has it", seen)


def test_numbers_that_moved_give_no_device_to_two_pods(
    installed: DaemonSet, bench: Bench, node: HostNode, plugged: Plugged
) -> None:
    """The driver is loaded again, and the cards come back in another order."""
    container = bench.pod({ATOM: 1}).running()
    (held,) = given(container, ATOM)
    other = next(bdf for bdf in ATOMS if bdf != held)
    names = {held: plugged[other].rbln, other: plugged[held].rbln}
    for bdf in names:
        node.remove(bdf)
    node.add(*(msgspec.structs.replace(plugged[bdf], rbln=name) for bdf, name in names.items()))
    installed.ctl("rescan")
    installed.wait(
        lambda: installed.status().pools[ATOM].devices[held].health == "Unhealthy",
        what="the device whose node moved is Unhealthy",
    )
    reason = installed.status().pools[ATOM].devices[held].reason
    assert f"/dev/{plugged[held].rbln}" in reason
    assert f"/dev/{names[held]}" in reason
    # The other card has the path that the pod was given: it is given to nobody.
    bench.history.wait_for(ATOM, FULL[ATOM] - 2, FULL[ATOM])
    free = bench.pod({ATOM: 2}).running()
    assert not {held, other} & set(given(free, ATOM))
    assert bench.pod({ATOM: 1}).refused() == "UnexpectedAdmissionError"
    assert container.untouched()
    bench.report.add(
        "two NPUs change their numbers while a pod has one",
        f"both Unhealthy until the pod ends, nobody else gets them: {reason}",
    )

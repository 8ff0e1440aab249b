"""What a pod was given stays right: its devices stay listed, and nobody else gets their nodes."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec
import pytest

from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet, two_pools
from tests.e2e.cluster.deployed import (
    AsUnit,
    Deployed,
    InPod,
    another_registration,
    device,
)
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pod_report import PodReport
from tests.e2e.cluster.pods import Pod, given
from tests.e2e.cluster.reboot_scene import npus_of, unit
from tests.e2e.cluster.setting import at_least
from tests.sim.device import SimDevice
from tests.system.scene import ATOM, ATOMS, eventually

Plugged = Mapping[str, SimDevice]
Act = Callable[[HostNode, Deployed, str, str], None]
"""What happens to the NPU of a pod and to another one."""

DEPLOYMENTS: Final = (
    pytest.param(("DaemonSet", False), id="DaemonSet", marks=pytest.mark.by_release),
    pytest.param(("unit", True), id="unit, CDI", marks=pytest.mark.by_release),
    pytest.param(("unit", False), id="unit"),
    pytest.param(("DaemonSet", True), id="DaemonSet, CDI"),
)


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def deployed(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    uninstalled: DaemonSet,
    node: HostNode,
    home: Path,
) -> Iterator[Deployed]:
    """The plugin in one of its deployments."""
    kind, cdi = request.param
    if kind == "DaemonSet":
        folder = cluster.places.state / f"held{cdi}"
        uninstalled.wait_ready(since=uninstalled.apply(two_pools(folder, cdi=cdi)))
        yield InPod(uninstalled, cdi=cdi)
        uninstalled.remove()
        return
    with unit(cluster, node, home, *["--use-cdi"] * cdi) as plugin:
        yield AsUnit(plugin, cdi=cdi)


@pytest.fixture
def ready(deployed: Deployed, plugged: Plugged, bench: Bench) -> Deployed:
    """The plugin with all NPUs in their places, of which no pod has one."""
    deployed.rescan()
    bench.all_allocatable()
    return deployed


def shown_health(pod: Pod) -> dict[str, str]:
    """The health of its devices that the kubelet puts into the pod's status, by ID."""
    statuses: list[dict[str, Any]] = pod.status["containerStatuses"]
    return {
        resource["resourceID"]: resource["health"]
        for container in statuses
        for entry in container.get("allocatedResourcesStatus", ())
        for resource in entry["resources"]
    }


def driver_reloaded(node: HostNode, deployed: Deployed, held: str, other: str) -> None:
    """The driver counts two cards the other way round."""
    names = {held: node.devices[other].rbln, other: node.devices[held].rbln}
    node.reload_driver({bdf: str(name) for bdf, name in names.items()})


def plugged_in_again(node: HostNode, deployed: Deployed, held: str, other: str) -> None:
    """Two cards are taken out, and come back with each other's number."""
    before = node.devices[held], node.devices[other]
    names = before[1].rbln, before[0].rbln
    for card in before:
        node.remove(card.bdf)
    deployed.rescan()
    device(deployed, held, health="Unhealthy")
    node.add(*map(with_name, before, names))


def with_name(card: SimDevice, name: str | None) -> SimDevice:
    """An NPU with another number."""
    return msgspec.structs.replace(card, rbln=name)


def numbers_move(deployed: Deployed) -> tuple[str, Act]:
    """What swaps two numbers in this deployment: each way is tried with CDI and without."""
    if (deployed.kind == "DaemonSet") != deployed.cdi:
        return "the driver is loaded again and swaps two numbers", driver_reloaded
    return "two cards are taken out and come back swapped", plugged_in_again


def test_numbers_that_moved_give_no_device_to_two_pods(
    ready: Deployed,
    cluster: Cluster,
    bench: Bench,
    node: HostNode,
    pod_report: PodReport,
) -> None:
    what, act = numbers_move(ready)
    pod = bench.pod({ATOM: 1}, restarts=True)
    container = pod.running()
    (held,) = given(container, ATOM)
    former = node.path(held)
    other = next(bdf for bdf in ATOMS if bdf != held)
    if ready.cdi:
        act(node, ready, held, other)
        ready.rescan()
        device(ready, held, health="Healthy")
        bench.all_allocatable()
    else:
        with another_registration(ready):  # one that asks for PreStartContainer
            act(node, ready, held, other)
            ready.rescan()
        reason = device(ready, held, health="Unhealthy").reason
        assert former in reason
        assert node.path(held) in reason
        # The other card has the path that the pod was given: it is given to nobody.
        bench.history.wait_for(ATOM, FULL[ATOM] - 2, FULL[ATOM])
    free = bench.pod({ATOM: 2}).running()
    assert npus_of(free, node) == set(given(free, ATOM))
    assert container.untouched()
    began = monotonic()
    cluster.kill_container(container.id)
    if ready.cdi:
        again = pod.restarted(container)
        seconds = monotonic() - began
        assert given(again, ATOM) == [held]
        assert npus_of(again, node) == {held}
        assert held not in given(free, ATOM)
        has, shown = f"{held} at {node.path(held)}", "Running, restarted in place"
    else:
        message = pod.cannot_start(former)
        seconds = monotonic() - began
        assert node.path(held) in message
        assert not {held, other} & set(given(free, ATOM))
        assert bench.pod({ATOM: 1}).refused() == "UnexpectedAdmissionError"
        has, shown = "nothing: its container is not started", message
    pod_report.add(
        f"{what}; its container ends",
        ready.kind,
        cdi=ready.cdi,
        had=f"{held} at {former}",
        has=has,
        shown=shown,
        seconds=seconds,
    )


def unplugged(node: HostNode, deployed: Deployed, held: str, other: str) -> None:
    """The pod's card is taken out."""
    node.remove(held)


def unbound(node: HostNode, deployed: Deployed, held: str, other: str) -> None:
    """The pod's card loses its driver."""
    node.unbind(held)


def card_leaves(deployed: Deployed) -> tuple[str, Act]:
    """How a pod's card leaves in this deployment: each way is tried with CDI and without."""
    if (deployed.kind == "DaemonSet") != deployed.cdi:
        return "its card is taken out", unplugged
    return "its card loses its driver", unbound


def test_a_device_that_a_pod_holds_stays_listed_while_it_is_away(
    ready: Deployed,
    bench: Bench,
    node: HostNode,
    pod_report: PodReport,
) -> None:
    what, act = card_leaves(ready)
    pod = bench.pod({ATOM: 2})
    container = pod.running()
    gone, other = sorted(given(container, ATOM))
    paths = f"{gone} at {node.path(gone)}, {other} at {node.path(other)}"
    began = monotonic()
    act(node, ready, gone, other)
    ready.rescan()
    lower = bench.history.wait_for(ATOM, 3, 4, since=began) - began
    ready.restart()
    ready.rescan()
    seen = device(ready, gone, health="Unhealthy")
    assert [use.pod for use in seen.pods] == [pod.name]
    bench.history.wait_for(ATOM, 3, 4)
    shown = f"rbln-ctl, also after a restart of the plugin: {seen.reason}"
    if at_least(36):
        eventually(lambda: shown_health(pod)[gone] == "Unhealthy", what="the pod's status")
        assert shown_health(pod)[other] == "Healthy"
        shown += "; the pod's status: Unhealthy"
    assert container.untouched()
    pod_report.add(
        f"{what} while it runs",
        ready.kind,
        cdi=ready.cdi,
        had=paths,
        has="the same: its container runs on",
        shown=shown,
        seconds=lower,
    )

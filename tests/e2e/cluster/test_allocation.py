"""What a container really has is what our Allocate answered, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.e2e.cluster import calls
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.node import LET_THROUGH, REFUSED, HostNode
from tests.e2e.cluster.pods import Container, given
from tests.e2e.cluster.setting import KUBELET_DIR
from tests.system.scene import ATOM, ATOMS, VM


class Sockets:
    """Both pools' own sockets, as the kubelet knows them."""

    def __init__(self, installed: DaemonSet) -> None:
        self._installed = installed

    def allocate(self, pool: str, ids: Sequence[str]) -> pb.ContainerAllocateResponse:
        return calls.allocate(self._path(pool), ids)

    def preferred(self, pool: str, available: Sequence[str], size: int) -> list[str]:
        return calls.preferred(self._path(pool), available, size)

    def _path(self, pool: str) -> Path:
        """Of now: a pool may be registered again, by another socket."""
        endpoint = self._installed.status().pools[pool].endpoint
        assert endpoint, f"{pool} is not served"
        return KUBELET_DIR / "device-plugins" / endpoint


@pytest.fixture
def sockets(installed: DaemonSet) -> Sockets:
    return Sockets(installed)


@pytest.fixture
def plain(installed: DaemonSet, bench: Bench) -> Container:
    """A container without devices: what every container has."""
    return bench.pod().running()


def test_a_container_gets_exactly_what_allocate_answered(
    sockets: Sockets, bench: Bench, node: HostNode, plain: Container
) -> None:
    pod = bench.pod({ATOM: 2, VM: 1}, scheduled=True)
    container = pod.running()
    answers = [sockets.allocate(name, given(container, name)) for name in (ATOM, VM)]
    assert len(given(container, ATOM)) == 2

    envs = {key: text for answer in answers for key, text in answer.envs.items()}
    more = container.environment().items() - plain.environment().items()
    assert {key: text for key, text in more if key != "HOSTNAME"} == envs

    devices = {each.container_path: each for answer in answers for each in answer.devices}
    nodes = container.devices()
    assert nodes.keys() - plain.devices().keys() == devices.keys()
    assert {path: nodes[path] for path in devices} == {
        path: node.number(device.host_path) for path, device in devices.items()
    }
    assert {path: container.opening(path) for path in devices} == dict.fromkeys(
        devices, LET_THROUGH
    )

    mounts = {each.container_path: each for answer in answers for each in answer.mounts}
    options = container.mounts()
    assert options.keys() - plain.mounts().keys() == mounts.keys()
    for path, mount in mounts.items():
        assert container.is_host_file(path, mount.host_path)
        assert ("ro" in options[path]) == mount.read_only
    bench.report.add(
        f"pod with 2 of {ATOM} and 1 of {VM}",
        f"running; {len(envs)} variables, {len(devices)} device nodes, {len(mounts)} mount: "
        "exactly the answers of Allocate",
        pod.seconds,
    )


def test_a_device_that_was_not_allocated_is_refused(
    installed: DaemonSet, bench: Bench, node: HostNode
) -> None:
    container = bench.pod({ATOM: 1}).running()
    (mine,) = given(container, ATOM)
    for number, device in enumerate(ATOMS):
        path = f"/tmp/rbln{number}"
        seen = node.number(f"/dev/rbln{number}")
        container.run("mknod", path, "c", str(seen >> 8), str(seen & 0xFF))
        assert container.opening(path) == (LET_THROUGH if device == mine else REFUSED)
    bench.report.add(
        "a container makes itself the nodes of all 4 NPUs",
        f"its own: {LET_THROUGH} (no driver behind it); the others: {REFUSED}",
    )


def test_preferred_devices_are_respected(sockets: Sockets, bench: Bench) -> None:
    single = bench.pod({ATOM: 1}).running()
    free = [device for device in ATOMS if device not in given(single, ATOM)]
    preferred = sockets.preferred(ATOM, free, 2)
    assert len(preferred) == 2
    pair = bench.pod({ATOM: 2}).running()
    assert sorted(given(pair, ATOM)) == sorted(preferred)
    bench.report.add(
        "pod with 2 of 3 free devices, of which 2 lie below one bridge",
        "it got these, as GetPreferredAllocation said",
    )


def test_two_pods_share_no_device(installed: DaemonSet, bench: Bench) -> None:
    first, second = (bench.pod({ATOM: 2}).running() for _ in range(2))
    assert sorted([*given(first, ATOM), *given(second, ATOM)]) == list(ATOMS)


def test_what_is_not_free_is_not_given(installed: DaemonSet, bench: Bench) -> None:
    bench.pod({ATOM: 3}).running()
    assert bench.pod({ATOM: 2}).refused() == "UnexpectedAdmissionError"
    waiting = bench.pod({ATOM: 2}, scheduled=True)
    assert "Insufficient rebellions.ai/ATOM" in waiting.unplaced()
    bench.report.add(
        "pod with 2 where 1 is free",
        "put on the node: refused (UnexpectedAdmissionError); left to the scheduler: Pending",
    )

"""The kernel says that something happened; nobody asks for a rescan. In a namespace of our own."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import grpc
import msgspec
import pytest

from rbln_supervisor.core.status import CounterName
from tests.sim.device import SimDevice, Subfunction
from tests.sim.node import SimNode
from tests.sim.nodes import Link, demo, npus
from tests.sim.stack import Stack
from tests.sim.uevents import Injector, frame, pci
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    config,
    eventually,
    pool_status,
    served,
    untouched,
)

pytestmark = pytest.mark.system

NPU: Final = "0000:23:00.0"
PF: Final = "0000:5e:00.0"
VF_POOL: Final = "intel.com/vf"
SLOW_RESCAN: Final = ("--rescan-interval", "3600")
"""So that nothing but the kernel's word can be what made it look."""


@contextmanager
def hearing(
    pools: object,
    build: Callable[[SimNode], None] = demo,
    links: Mapping[str, Link] | None = None,
) -> Iterator[tuple[Stack, Injector]]:
    """A system in a network namespace, and what injects the kernel's events there."""
    with Stack(pools, build, arguments=SLOW_RESCAN, links=links or {}) as stack:
        stack.wait_status(lambda status: status.supervisor.ready, what="it has a namespace")
        with Injector(stack.pid) as tell:
            yield stack, tell


def messages(stack: Stack, name: str) -> int:
    """How many lists the kubelet has got of a resource."""
    return len(stack.kubelet.messages(name))


def nic(node: SimNode) -> None:
    """A network PF with two VFs, one of them with an interface."""
    node.add(SimDevice(PF, "8086", "1592", "020000", "ice", net=("p0",), totalvfs=8, iommu=90))
    vfs = [
        SimDevice(
            f"0000:5e:02.{number}", "8086", "1889", "020000", "iavf", net=(f"v{number}",), pf=PF
        )
        for number in (0, 1)
    ]
    node.add(*vfs)


NICS: Final = config(
    {
        "resourceName": "vf",
        "selectors": {"drivers": ["iavf"], "pfNames": ["p0"], "linkTypes": ["ether"]},
    },
    {
        "resourceName": "renamed",
        "selectors": {"drivers": ["iavf"], "pfNames": ["uplink"]},
    },
)


def test_a_device_is_unplugged_and_plugged_in() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        with untouched(stack, VM):
            stack.node.remove(NPU)
            tell(pci("unbind", NPU), pci("remove", NPU))
            allocatable(stack, ATOM, len(ATOMS) - 1)
            stack.node.add(next(npu for npu in npus(4, numa_nodes=2) if npu.bdf == NPU))
            tell(pci("add", NPU), pci("bind", NPU, DRIVER="rebellions"))
            allocatable(stack, ATOM, len(ATOMS))


def test_a_driver_is_unbound_and_bound() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        stack.node.unbind(NPU)
        tell(pci("unbind", NPU))
        allocatable(stack, ATOM, len(ATOMS) - 1)
        pool_status(
            stack,
            ATOM,
            lambda pool: pool.devices[NPU].reason == "no driver is bound to it",
            what="the reason",
        )
        stack.node.bind(NPU, "rebellions")
        tell(pci("bind", NPU, DRIVER="rebellions"))
        allocatable(stack, ATOM, len(ATOMS))


def test_a_device_that_is_bound_to_vfio_changes_its_pool() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        stack.node.bind(NPU, "vfio-pci")
        tell(pci("unbind", NPU), pci("bind", NPU, DRIVER="vfio-pci"))
        allocatable(stack, VM, len(VMS) + 1)
        stack.kubelet.wait(
            lambda k: k.resource(ATOM).devices.keys() == set(ATOMS) - {NPU}, what="it left"
        )
        node = stack.kubelet.allocate(VM, [[NPU]]).container_responses[0].devices[-1].host_path
        assert node == "/dev/vfio/53"


def test_virtual_functions_take_their_pfs_place_and_go() -> None:
    with hearing(config(ATOM_POOL)) as (stack, tell):
        served(stack, ATOM)
        vfs = stack.node.enable_vfs(NPU, 4)
        tell(*(pci("add", vf) for vf in vfs), *(pci("bind", vf) for vf in vfs), pci("change", NPU))
        allocatable(stack, ATOM, len(ATOMS) - 1 + len(vfs))
        stack.node.disable_vfs(NPU)
        tell(*(pci("remove", vf) for vf in vfs))
        stack.kubelet.wait(
            lambda k: (
                k.resource(ATOM).devices[NPU].health == "Healthy"
                and k.resource(ATOM).allocatable == len(ATOMS)
            ),
            what="the PF is given out again, and no VF",
        )


def test_an_answer_follows_its_node() -> None:
    """The driver numbers its devices anew: nothing that the supervisor sees has changed."""
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        before = messages(stack, ATOM)
        stack.node.add_dev_node("rbln9")
        stack.node.rename_rbln(NPU, "rbln9")
        tell(pci("change", NPU))

        def node() -> str:
            answer = stack.kubelet.allocate(ATOM, [[NPU]]).container_responses[0]
            return answer.devices[0].host_path

        eventually(lambda: node() == "/dev/rbln9", what="the answer names the new node")
        assert messages(stack, ATOM) == before, "the kubelet has nothing to know of it"


def test_an_answer_follows_its_iommu_group() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        device = msgspec.structs.replace(stack.node.devices[VMS[0]], iommu=99)
        stack.node.remove(VMS[0])
        stack.node.add(device)
        tell(pci("bind", VMS[0], DRIVER="vfio-pci"))

        def node() -> str:
            try:
                answer = stack.kubelet.allocate(VM, [[VMS[0]]]).container_responses[0]
            except grpc.RpcError:  # it is Unhealthy while it is not whole
                return ""
            return answer.devices[-1].host_path

        eventually(lambda: node() == "/dev/vfio/99", what="the answer names the new group")
        allocatable(stack, VM, len(VMS))


def test_sub_functions_are_made_and_destroyed() -> None:
    pf = SimDevice(PF, "15b3", "101d", "020000", "mlx5_core", net=("p0",), totalvfs=8)
    sf = Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",))
    pools = config(
        {"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"]}}
    )
    with hearing(pools, lambda node: node.add(pf)) as (stack, tell):
        home = f"/devices/pci0000:5e/{PF}/{sf.name}"
        stack.node.add_subfunction(PF, sf)
        tell(frame("add", home, "auxiliary"))
        allocatable(stack, "intel.com/sf", 1)
        stack.node.remove_subfunction(PF, sf.name)
        tell(frame("remove", home, "auxiliary"))
        allocatable(stack, "intel.com/sf", 0)
        assert stack.kubelet.resource("intel.com/sf").devices.keys() == {sf.name}
        stack.node.add_subfunction(PF, sf)
        tell(frame("add", home, "auxiliary"))
        allocatable(stack, "intel.com/sf", 1)


def test_an_interface_in_a_pod_leaves_its_device_where_it_is() -> None:
    with hearing(NICS, nic) as (stack, tell):
        served(stack, VF_POOL)
        with untouched(stack, VF_POOL):
            for bdf, name in ((f"0000:5e:02.{n}", f"v{n}") for n in (0, 1)):
                stack.node.tree.remove(f"{stack.node.home(bdf)}/net/{name}")
                tell(frame("remove", f"{stack.node.home(bdf)[4:]}/net/{name}", "net"))
            stack.node.tree.remove(f"{stack.node.home(PF)}/net/p0")
            tell(frame("remove", f"{stack.node.home(PF)[4:]}/net/p0", "net"))
            stack.ctl("rescan")  # comes after the looks for these
            assert stack.kubelet.allocate(VF_POOL, [["0000:5e:02.0"]]).container_responses


@pytest.mark.parametrize("pod_resources", ["answers", "hangs"])
def test_not_even_where_the_supervisor_that_saw_it_is_gone(pod_resources: str) -> None:
    """Also where workers are adopted before it is known what pods hold."""
    with hearing(NICS, nic) as (stack, _):
        served(stack, VF_POOL)
        if pod_resources == "hangs":
            stack.kubelet.pods.hang()
        with untouched(stack, VF_POOL):
            for bdf, name in ((PF, "p0"), ("0000:5e:02.0", "v0"), ("0000:5e:02.1", "v1")):
                stack.node.tree.remove(f"{stack.node.home(bdf)}/net/{name}")
            stack.ctl("rescan")
            stack.kill()
            stack.start()
            stack.wait_status(lambda status: status.supervisor.ready, what="the next one knows")
            stack.ctl("rescan")
        stack.kubelet.pods.resume()


def test_a_renamed_interface_is_another_selectors() -> None:
    with hearing(NICS, nic) as (stack, tell):
        served(stack, VF_POOL)
        folder = stack.node.tree.at(f"{stack.node.home(PF)}/net")
        (folder / "p0").rename(folder / "uplink")
        tell(frame("move", f"{stack.node.home(PF)[4:]}/net/uplink", "net"))
        allocatable(stack, "intel.com/renamed", 2)
        stack.kubelet.wait(lambda k: not k.resource(VF_POOL).devices, what="they left")


def test_a_storm_about_nothing_says_nothing() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        with untouched(stack, ATOM, VM):
            tell(*[pci("change", NPU)] * 10_000)
            stack.ctl("rescan")
        assert stack.status().supervisor.counters[CounterName.UEVENTS] >= 1


def test_a_change_in_a_storm_is_not_missed() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        before = messages(stack, ATOM)
        for _ in range(10):
            tell(*[pci("change", "0000:20:00.0")] * 500)
            stack.node.unbind(NPU)
            tell(*[pci("unbind", NPU)] * 250, *[pci("change", "0000:20:00.0")] * 250)
            stack.node.bind(NPU, "rebellions")
            tell(pci("bind", NPU))
        stack.node.unbind(NPU)
        tell(pci("unbind", NPU))
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.ctl("rescan")
        assert stack.kubelet.resource(ATOM).allocatable == len(ATOMS) - 1
        assert messages(stack, ATOM) - before <= 2 * 10 + 1, "at most one for each change"


def test_what_was_lost_is_looked_at() -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        os.kill(stack.pid, signal.SIGSTOP)
        try:
            stack.node.unbind(NPU)
            tell(
                *[frame("add", "/devices/virtual/tty/nothing", "tty")] * 40_000, pci("unbind", NPU)
            )
        finally:
            os.kill(stack.pid, signal.SIGCONT)
        stack.wait_status(
            lambda s: CounterName.UEVENTS_LOST in s.supervisor.counters, what="a loss"
        )
        reason = "no driver is bound to it"
        pool_status(stack, ATOM, lambda p: p.devices[NPU].reason == reason, what="a look")


@pytest.mark.parametrize(
    ("devpath", "subsystem"),
    [
        ("/devices/virtual/net/veth1", "net"),
        ("/devices/pci0000:00/0000:00:04.0/nvme/nvme0", "nvme"),
        ("/devices/\udcff\udcfe", "pci\udcff"),
        ("/" + "x" * 800, "block"),
    ],
)
def test_events_of_others_are_nobodys(devpath: str, subsystem: str) -> None:
    with hearing(TWO_POOLS) as (stack, tell):
        served(stack)
        tell(*[frame("add", devpath, subsystem)] * 20, pci("change", NPU))
        status = stack.wait_status(
            lambda s: CounterName.UEVENTS in s.supervisor.counters, what="the last one"
        )
        assert status.supervisor.counters[CounterName.UEVENTS] == 1


def test_a_kubelets_restarts_are_counted() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        assert stack.status().supervisor.counters.get(CounterName.KUBELET_RESTARTS, 0) == 0
        stack.kubelet.restart()
        served(stack)
        assert stack.status().supervisor.counters[CounterName.KUBELET_RESTARTS] == 1
        stack.kubelet.stop()
        stack.kubelet.socket.unlink()
        status = stack.wait_status(lambda s: s.supervisor.problems, what="a problem")
        (problem,) = status.supervisor.problems
        assert problem.text.startswith("no kubelet: ")
        assert "is --device-plugins-dir right?" in problem.text

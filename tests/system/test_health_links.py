"""A link that falls makes devices Unhealthy whose traffic it carries: real links, real netlink."""

from collections.abc import Mapping

import pytest

from rbln_supervisor.core.status import DeviceStatus
from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.kubelet_records import Listed
from tests.sim.node import SimNode
from tests.sim.nodes import Link, npus
from tests.sim.stack import Stack
from tests.system.scene import allocatable, config, pool_status, untouched

pytestmark = pytest.mark.system

NICS, DPDK, NPUS = "rebellions.ai/nics", "rebellions.ai/dpdk", "rebellions.ai/npus"
PF, NIC = "0000:3b:00.0", "0000:5e:00.0"
LINKS: Mapping[str, Link] = {"p0": Link(), "eno1": Link(pair=True)}
CABLE = network.peer("eno1")


def net(name: str, driver: str, **health: object) -> dict[str, object]:
    return {
        "resourceName": name,
        "resourcePrefix": "rebellions.ai",
        "selectors": {"drivers": [driver]},
        "health": health,
    }


NPU_POOL: dict[str, object] = {
    "resourceName": "npus",
    "resourcePrefix": "rebellions.ai",
    "deviceType": "accelerator",
    "selectors": {"drivers": ["rebellions"]},
}


def build(node: SimNode) -> None:
    """A NIC, a PF with three VFs for DPDK, and two NPUs."""
    nic = SimDevice(NIC, vendor="8086", device="1592", code="020000", driver="ice", net=("eno1",))
    pf = SimDevice(
        PF,
        vendor="8086",
        device="1592",
        code="020000",
        driver="i40e",
        net=("p0",),
        iommu=1,
        totalvfs=8,
    )
    node.add(nic, pf, *npus(2))
    node.enable_vfs(PF, 3, driver="vfio-pci")


def serving(stack: Stack) -> None:
    for name, count in ((NICS, 1), (DPDK, 3), (NPUS, 2)):
        allocatable(stack, name, count)


def ip(stack: Stack, words: str) -> None:
    network.run(stack.pid, f"ip link set {words}")


def first(stack: Stack, name: str, phase: str) -> DeviceStatus:
    """The first device of a pool, once all of them are in this phase."""
    seen = pool_status(
        stack,
        name,
        lambda pool: {device.phase for device in pool.devices.values()} == {phase},
        what=f"{name} is {phase}",
    )
    return next(iter(seen.devices.values()))


def test_a_pf_whose_link_falls_takes_its_vfs_with_it() -> None:
    pools = config(net("nics", "ice"), net("dpdk", "vfio-pci"), NPU_POOL)
    with Stack(pools, build, links=LINKS) as stack:
        serving(stack)
        with untouched(stack, NICS, NPUS):
            ip(stack, "p0 down")
            allocatable(stack, DPDK, 0)
            sick = first(stack, DPDK, "unhealthy")
            assert (sick.source, sick.reason) == (
                "link",
                "link of its PF p0 is set down: ip link set p0 up",
            )
            ip(stack, "p0 up")
            allocatable(stack, DPDK, 3)
        # All of them in one message, each time.
        messages = stack.kubelet.messages(DPDK)
        assert [
            sum(device.health == "Healthy" for device in message.devices.values())
            for message in messages
        ] == [3, 0, 3]


def test_a_cable_that_is_pulled() -> None:
    with Stack(config(net("nics", "ice"), NPU_POOL), build, links=LINKS) as stack:
        allocatable(stack, NICS, 1)
        ip(stack, f"{CABLE} down")
        allocatable(stack, NICS, 0)
        assert first(stack, NICS, "unhealthy").reason == "its link eno1 is down (no carrier)"
        ip(stack, f"{CABLE} up")
        allocatable(stack, NICS, 1)


def test_a_flicker_is_no_news() -> None:
    with Stack(config(net("nics", "ice", suspectSeconds=3600)), build, links=LINKS) as stack:
        allocatable(stack, NICS, 1)
        ip(stack, f"{CABLE} down")
        assert first(stack, NICS, "suspect").health == "Healthy"
        stack.kubelet.allocate(NICS, [[NIC]])
        ip(stack, f"{CABLE} up")
        first(stack, NICS, "healthy")
        assert len(stack.kubelet.messages(NICS)) == 1


def test_a_link_that_flickers_again_and_again_is_not_good() -> None:
    with Stack(config(net("nics", "ice", suspectSeconds=3600)), build, links=LINKS) as stack:
        allocatable(stack, NICS, 1)
        for _ in range(2):
            ip(stack, f"{CABLE} down")
            first(stack, NICS, "suspect")
            ip(stack, f"{CABLE} up")
            first(stack, NICS, "healthy")
        ip(stack, f"{CABLE} down")
        allocatable(stack, NICS, 0)
        assert first(stack, NICS, "unhealthy").reason.endswith("(3 times within 10 s)")


def test_a_pool_that_does_not_care_for_links() -> None:
    pools = config(net("nics", "ice", linkState=False), net("dpdk", "vfio-pci"), NPU_POOL)
    with Stack(pools, build, links=LINKS) as stack:
        serving(stack)
        with untouched(stack, NICS):
            ip(stack, f"{CABLE} down")
            ip(stack, "p0 down")
            allocatable(stack, DPDK, 0)


def test_files_that_hang_keep_no_link() -> None:
    """What the supervisor says of a device is judged while its own files don't answer."""
    with Stack(config(net("dpdk", "vfio-pci"), net("nics", "ice")), build, links=LINKS) as stack:
        allocatable(stack, DPDK, 3)
        for vf in stack.kubelet.resource(DPDK).devices:
            stack.node.hang(vf, "aer_dev_fatal")
        for stir in (stack.node.remove_dev_node, stack.node.add_dev_node):
            stir("vfio/vfio")  # they are looked at, and hang
        first(stack, DPDK, "unknown")
        ip(stack, "p0 down")
        allocatable(stack, DPDK, 0)
        listed = [one for one in stack.kubelet.records if isinstance(one, Listed)]
        assert len([one for one in listed if one.resource == DPDK]) == 2


def test_a_link_that_is_down_from_the_start() -> None:
    with Stack(config(net("nics", "ice"), NPU_POOL), build, links={"p0": Link()}) as stack:
        allocatable(stack, NICS, 1)  # nobody knows its link: it may be a container's
        network.run(stack.pid, f"ip link add eno1 up type veth peer name {CABLE}")
        allocatable(stack, NICS, 0)
        network.run(stack.pid, f"ip link set {CABLE} up")
        allocatable(stack, NICS, 1)


def test_a_link_that_flaps_a_thousand_times_a_second_ends_where_it_is() -> None:
    with Stack(config(net("nics", "ice")), build, links=LINKS) as stack:
        allocatable(stack, NICS, 1)
        flap = f"ip link set {CABLE} down\nip link set {CABLE} up\n"
        network.run(stack.pid, flap * 300, f"ip link set {CABLE} down")
        allocatable(stack, NICS, 0)
        first(stack, NICS, "unhealthy")
        assert len(stack.kubelet.messages(NICS)) <= 10

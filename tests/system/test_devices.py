"""Devices come and go, and only the pools concerned hear of it."""

import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VMS,
    allocatable,
    config,
    pool_status,
    served,
    untouched,
)

pytestmark = pytest.mark.system

GRACE = ("--gone-grace", "1")
FIRST = ATOMS[0]


def rescan(stack: Stack) -> RescanReply:
    reply = send_request(stack.run_dir, Rescan())
    assert isinstance(reply, RescanReply)
    return reply


def unhealthy(stack: Stack, name: str, device: str, reason: str) -> None:
    """Wait until a device is listed with this reason for not being healthy."""
    pool_status(
        stack,
        name,
        lambda seen: (
            device in seen.devices
            and seen.devices[device].health == "Unhealthy"
            and reason in seen.devices[device].reason
        ),
        what=f"{device}: {reason}",
    )
    stack.kubelet.wait(
        lambda k: (
            device in k.resource(name).devices
            and k.resource(name).devices[device].health == "Unhealthy"
        ),
        what=f"{device} is listed as Unhealthy",
    )


def test_an_unplugged_device_is_unhealthy_and_leaves_after_the_grace() -> None:
    with Stack(TWO_POOLS, arguments=GRACE) as stack:
        served(stack)
        with untouched(stack, VM):
            device = stack.node.devices[FIRST]
            stack.node.remove(FIRST)
            assert rescan(stack).changed == (ATOM,)
            unhealthy(stack, ATOM, FIRST, "unplugged")
            stack.kubelet.wait(
                lambda k: k.resource(ATOM).devices.keys() == set(ATOMS[1:]),
                what=f"{FIRST} leaves",
            )
            stack.node.add(device)
            assert rescan(stack).changed == (ATOM,)
            allocatable(stack, ATOM, len(ATOMS))
            assert rescan(stack).changed == ()
        # all, one is sick, it leaves, it is back
        assert [len(m.devices) for m in stack.kubelet.messages(ATOM)] == [4, 4, 3, 4]


def test_a_device_that_comes_back_within_the_grace_never_left() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        device = stack.node.devices[FIRST]
        stack.node.remove(FIRST)
        rescan(stack)
        unhealthy(stack, ATOM, FIRST, "unplugged")
        stack.node.add(device)
        rescan(stack)
        allocatable(stack, ATOM, len(ATOMS))
        assert {len(message.devices) for message in stack.kubelet.messages(ATOM)} == {len(ATOMS)}


def test_a_pool_that_loses_all_its_devices_gets_them_back() -> None:
    with Stack(config(ATOM_POOL), arguments=GRACE) as stack:
        served(stack, ATOM)
        workers = stack.workers()
        for _ in range(2):
            devices = [stack.node.devices[bdf] for bdf in ATOMS]
            for bdf in ATOMS:
                stack.node.remove(bdf)
            rescan(stack)
            stack.kubelet.wait(lambda k: not k.resource(ATOM).devices, what="an empty pool")
            stack.node.add(*devices)
            rescan(stack)
            allocatable(stack, ATOM, len(ATOMS))
        assert stack.workers() == workers
        assert len(stack.kubelet.registrations) == 1


def test_a_driver_that_is_unbound_and_bound_again() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.node.unbind(FIRST)
            rescan(stack)
            unhealthy(stack, ATOM, FIRST, "no driver is bound to it")
            stack.node.bind(FIRST, "rebellions")
            rescan(stack)
            allocatable(stack, ATOM, len(ATOMS))


def test_a_device_that_changes_its_driver_changes_its_pool_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.bind(FIRST, "vfio-pci")
        assert rescan(stack).changed == (ATOM, VM)
        allocatable(stack, VM, len(VMS) + 1)
        stack.kubelet.wait(
            lambda k: k.resource(ATOM).devices.keys() == set(ATOMS[1:]), what=f"{FIRST} leaves ATOM"
        )


def test_a_device_that_no_pool_wants_any_more_says_why() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.bind(FIRST, "uio_pci_generic")
        rescan(stack)
        unhealthy(stack, ATOM, FIRST, "driver uio_pci_generic is bound to it, rebellions was")


def test_virtual_functions_take_their_physical_ones_place() -> None:
    def build(node: SimNode) -> None:
        node.add(SimDevice("0000:20:00.0", totalvfs=4, rbln="rbln0", iommu=1), *npus(3)[1:])

    with Stack(config(ATOM_POOL), build, arguments=GRACE) as stack:
        allocatable(stack, ATOM, 3)
        vfs = stack.node.enable_vfs(FIRST, 4)
        rescan(stack)
        unhealthy(stack, ATOM, FIRST, "its virtual functions are enabled")
        allocatable(stack, ATOM, 6)
        stack.kubelet.wait(
            lambda k: k.resource(ATOM).devices.keys() == {*ATOMS[1:3], *vfs}, what="the PF leaves"
        )
        stack.node.disable_vfs(FIRST)
        rescan(stack)
        allocatable(stack, ATOM, 3)


def test_the_node_is_looked_at_now_and_then() -> None:
    with Stack(TWO_POOLS, arguments=("--rescan-interval", "0.2")) as stack:
        served(stack)
        stack.node.unbind(FIRST)
        unhealthy(stack, ATOM, FIRST, "no driver is bound to it")


def test_a_node_whose_devices_cannot_be_listed_keeps_what_it_had() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            place = stack.root / "sys/bus/pci/devices"
            place.rename(stack.root / "aside")
            (problem,) = rescan(stack).problems
            assert problem.text.startswith("the node's devices can't be listed: /sys/bus/pci")
            assert rescan(stack).problems == (problem,)
            assert stack.status().supervisor.problems == (problem,)
            (stack.root / "aside").rename(place)
            assert rescan(stack).problems == ()
        assert stack.log.count("can't be listed") == 1


@pytest.mark.parametrize("name", ["rbln0", "rsd0"])
def test_a_node_below_dev_that_goes_and_comes(name: str) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.node.remove_dev_node(name)
            unhealthy(stack, ATOM, FIRST, f"/dev/{name} does not exist")
            others = len(ATOMS) - 1 if name == "rbln0" else 0
            assert stack.kubelet.resource(ATOM).allocatable == others
            stack.node.add_dev_node(name)
            allocatable(stack, ATOM, len(ATOMS))


def test_dev_itself_may_be_made_anew() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        dev = stack.root / "dev"
        dev.rename(stack.root / "aside")
        allocatable(stack, ATOM, 0)
        allocatable(stack, VM, 0)
        (stack.root / "aside").rename(dev)
        allocatable(stack, ATOM, len(ATOMS))
        allocatable(stack, VM, len(VMS))


def test_a_device_that_flaps() -> None:
    """Each rescan that finds a difference is one message, and nothing is lost at the end."""
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            for _ in range(10):
                stack.node.unbind(FIRST)
                rescan(stack)
                stack.node.bind(FIRST, "rebellions")
                rescan(stack)
            stack.node.unbind(FIRST)
            rescan(stack)
            unhealthy(stack, ATOM, FIRST, "no driver is bound to it")
        assert len(stack.kubelet.messages(ATOM)) <= 22


def test_a_device_that_moves_to_another_numa_node() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        assert stack.kubelet.resource(ATOM).devices[FIRST].numa == (0,)
        with untouched(stack, VM):
            for numa, seen in ((1, (1,)), (-1, ()), (0, (0,))):
                stack.node.set_numa_node(FIRST, numa)
                assert rescan(stack).changed == (ATOM,)
                stack.kubelet.wait(
                    lambda k: k.resource(ATOM).devices[FIRST].numa == seen,  # noqa: B023
                    what=f"NUMA node {numa}",
                )
        assert len(stack.kubelet.messages(ATOM)) == 4

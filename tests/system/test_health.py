"""What a device's own files say of its health, from sysfs to the kubelet."""

import json
from typing import Any

import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.core.status import DeviceStatus
from rbln_supervisor.ctl.client import send_request
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import for_machines, npus
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    VMS,
    allocatable,
    config,
    pool_status,
    served,
    untouched,
)

pytestmark = pytest.mark.system

FIRST, SECOND = ATOMS[:2]
SOON = {"firstSeconds": 0.05, "repeatSeconds": 0.05, "maxSeconds": 0.05}
"""A probation that keeps no test."""


def look(stack: Stack) -> None:
    """Have the workers look now, and not when they would anyway."""
    assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)


def device(stack: Stack, name: str, what: str, **fields: Any) -> DeviceStatus:  # noqa: ANN401
    """Wait until the status of a device of ATOM says this; ``reason`` is a part of it."""

    def holds(is_: DeviceStatus) -> bool:
        return all(
            value in is_.reason if field == "reason" else getattr(is_, field) == value
            for field, value in fields.items()
        )

    seen = pool_status(
        stack, ATOM, lambda pool: name in pool.devices and holds(pool.devices[name]), what=what
    )
    return seen.devices[name]


def sick_at_the_kubelet(stack: Stack, name: str = ATOM) -> set[str]:
    """Every device that was ever listed as Unhealthy."""
    return {
        device
        for message in stack.kubelet.messages(name)
        for device, seen in message.devices.items()
        if seen.health != "Healthy"
    }


def with_health(**health: object) -> dict[str, object]:
    return config({**ATOM_POOL, "health": health}, VM_POOL)


def test_a_fault_is_unhealthy_and_a_busy_npu_is_not() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.node.set_status("rbln1", 1)
            stack.node.set_status("rbln0", 3)
            look(stack)
            allocatable(stack, ATOM, len(ATOMS) - 1)
            sick = device(stack, FIRST, "a fault", phase="unhealthy", source="npu-status")
            assert sick.reason == "its status is FAULT (3)"
            assert sick.since is not None
            stack.node.set_status("rbln0", 0)
            look(stack)
            allocatable(stack, ATOM, len(ATOMS))
        assert sick_at_the_kubelet(stack) == {FIRST}
        assert len(stack.kubelet.messages(ATOM)) == 3
        assert stack.log.count("device unhealthy device=0000:20:00.0") == 1


def test_a_status_is_looked_at_without_a_reason() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln0", 3)
        allocatable(stack, ATOM, len(ATOMS) - 1)


@pytest.mark.parametrize("status", [2, 4])
def test_an_npu_that_begins_or_ends_is_not_usable_now(status: int) -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln0", status)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.node.set_status("rbln0", 0)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS))


def test_a_status_that_nobody_knows_holds_for_a_while() -> None:
    with Stack(with_health(unknownHoldSeconds=1.5)) as stack:
        served(stack)
        stack.node.set_status("rbln0", 77)
        look(stack)
        held = device(stack, FIRST, "an unknown status", phase="unknown", reason="status 77")
        assert held.health == "Healthy"
        assert stack.kubelet.resource(ATOM).allocatable == len(ATOMS)
        stack.kubelet.allocate(ATOM, [[FIRST]])
        device(
            stack, FIRST, "it fell", health="Unhealthy", reason="unknown for 1.5 s: nobody knows"
        )
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.node.set_status("rbln0", 0)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS))


def test_a_new_drivers_numbers_condemn_nobody() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_class_attribute("rbln0", "kernel_version", "4.0.0\n")
        stack.node.set_status("rbln0", 3)
        stack.node.set_status("rbln1", 3)  # of the driver that is known
        look(stack)
        device(stack, FIRST, "an unknown status", phase="unknown", reason="driver (4.0.0)")
        allocatable(stack, ATOM, len(ATOMS) - 1)
        assert sick_at_the_kubelet(stack) == {SECOND}


@pytest.mark.parametrize("hanging", [1, 6])
def test_npus_that_hang_keep_nobody(hanging: int) -> None:
    count = hanging + 3

    def build(node: SimNode) -> None:
        node.add(*npus(count), *for_machines())

    with Stack(TWO_POOLS, build) as stack:
        allocatable(stack, ATOM, count)
        allocatable(stack, VM, len(VMS))
        names = sorted(stack.kubelet.resource(ATOM).devices)
        with untouched(stack, VM):
            for number in range(hanging):
                stack.node.hang_status(f"rbln{number}")
            look(stack)
            stack.node.set_status(f"rbln{hanging}", 3)
            look(stack)
            allocatable(stack, ATOM, count - 1)
            stack.node.remove_dev_node(f"rbln{hanging + 1}")
            allocatable(stack, ATOM, count - 2)
            stack.node.set_status(f"rbln{hanging}", 0)
            look(stack)
            allocatable(stack, ATOM, count - 1)
            for name in names[:hanging]:
                held = device(stack, name, "no answer", phase="unknown", reason="did not answer")
                assert held.health == "Healthy"
            stack.kubelet.allocate(ATOM, [[names[0]]])
            # What they say at last counts at once.
            stack.node.answer_status("rbln0", 3)
            allocatable(stack, ATOM, count - 2)
            for number in range(1, hanging):
                stack.node.answer_status(f"rbln{number}", 0)
            for name in names[1:hanging]:
                device(stack, name, "it answers", phase="healthy")
        assert sick_at_the_kubelet(stack) == {names[0], names[hanging], names[hanging + 1]}


def test_what_hangs_for_too_long_falls() -> None:
    with Stack(with_health(unknownHoldSeconds=0.2)) as stack:
        served(stack)
        stack.node.hang_status("rbln0")
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 1)
        device(stack, FIRST, "it fell", phase="unhealthy", reason="unknown for 0.2 s: its files")
        stack.node.answer_status("rbln0", 0)
        allocatable(stack, ATOM, len(ATOMS))


def test_a_device_that_hangs_from_the_start_is_not_healthy() -> None:
    def build(node: SimNode) -> None:
        node.add(*npus(4))
        node.hang_status("rbln0")

    with Stack(config(ATOM_POOL), build) as stack:
        allocatable(stack, ATOM, 3)
        device(stack, FIRST, "no answer", health="Unhealthy", reason="did not answer within 5 s")
        stack.node.answer_status("rbln0", 0)
        allocatable(stack, ATOM, 4)


def test_a_function_that_fell_off_the_bus() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_attribute(FIRST, "config", b"\xff" * 64)
        stack.node.set_attribute(VMS[0], "config", b"\xff" * 256)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 1)
        allocatable(stack, VM, len(VMS) - 1)
        device(stack, FIRST, "off the bus", source="config-space", reason="all ones")
        stack.node.set_attribute(FIRST, "config", stack.node.devices[FIRST].config_space())
        look(stack)
        allocatable(stack, ATOM, len(ATOMS))


def test_virtual_functions_have_no_vendor_in_their_config_space() -> None:
    def build(node: SimNode) -> None:
        node.add(SimDevice("0000:20:00.0", totalvfs=4, rbln="rbln0", iommu=1))
        node.enable_vfs("0000:20:00.0", 4)

    with Stack(config(ATOM_POOL), build) as stack:
        allocatable(stack, ATOM, 4)
        assert sick_at_the_kubelet(stack) == set()


def test_one_that_sleeps_is_not_asked() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_attribute(FIRST, "power/runtime_status", "suspended\n")
        stack.node.hang(FIRST, "config")  # whoever read it would not come back
        stack.node.set_status("rbln1", 3)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.node.set_status("rbln0", 3)
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 2)


def test_a_fatal_pcie_error() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_attribute(FIRST, "aer_dev_fatal", "DLP 1\nTOTAL_ERR_FATAL 1\n")
        look(stack)
        allocatable(stack, ATOM, len(ATOMS) - 1)
        device(stack, FIRST, "a fatal error", source="aer", phase="unhealthy")


def test_fatal_errors_of_before_are_not_ours() -> None:
    def build(node: SimNode) -> None:
        node.add(*npus(4))
        node.set_attribute(FIRST, "aer_dev_fatal", "TOTAL_ERR_FATAL 9\n")

    with Stack(config(ATOM_POOL), build) as stack:
        allocatable(stack, ATOM, 4)
        assert sick_at_the_kubelet(stack) == set()


def test_a_slow_link_is_told_and_hinders_nobody() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_attribute(FIRST, "current_link_width", "8\n")
        look(stack)
        warning = "its PCIe link runs at 32.0 GT/s x8, it can do 32.0 GT/s x16"
        slow = device(stack, FIRST, "a warning", warnings=(warning,))
        assert (slow.health, slow.phase) == ("Healthy", "healthy")
        assert f"warning: {warning}" in stack.ctl("status").stdout
        assert len(stack.kubelet.messages(ATOM)) == 1


def test_an_npu_that_flaps_settles_on_unhealthy() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            for _ in range(12):
                stack.node.set_status("rbln0", 3)
                look(stack)
                device(stack, FIRST, "a fault", phase="unhealthy")
                stack.node.set_status("rbln0", 0)
                look(stack)
                # Healthy soon after the first two falls, later on not so soon
                pool_status(
                    stack,
                    ATOM,
                    lambda pool: pool.devices[FIRST].phase in {"probation", "healthy"},
                    what="it is better",
                )
        watched = device(stack, FIRST, "on probation", health="Unhealthy", phase="probation")
        assert "its status is FAULT (3)" in watched.reason
        # 12 falls within less than a minute; see the bound in core/health/machine.py
        assert len(stack.kubelet.messages(ATOM)) <= 12


def test_a_pool_says_for_how_long_its_devices_are_watched() -> None:
    with Stack(with_health(probation=SOON)) as stack:
        served(stack)
        for _ in range(6):
            stack.node.set_status("rbln0", 3)
            look(stack)
            allocatable(stack, ATOM, len(ATOMS) - 1)
            stack.node.set_status("rbln0", 0)
            look(stack)
            allocatable(stack, ATOM, len(ATOMS))


def test_a_node_below_dev_that_flickers_is_no_news() -> None:
    with Stack(with_health(suspectSeconds=3600)) as stack:
        served(stack)
        stack.node.remove_dev_node("rbln0")
        held = device(stack, FIRST, "suspected", phase="suspect", reason="/dev/rbln0 does not")
        assert held.health == "Healthy"
        refused = pytest.raises(Exception, match="/dev/rbln0 does not exist")
        with refused:  # it would not start
            stack.kubelet.allocate(ATOM, [[FIRST]])
        stack.node.add_dev_node("rbln0")
        device(stack, FIRST, "nothing was the matter", phase="healthy", reason="")
        assert len(stack.kubelet.messages(ATOM)) == 1


def newcomer(stack: Stack) -> str:
    """Plug in a vfio device whose node is not there yet."""
    new = SimDevice("0000:62:00.0", device="1220", driver="vfio-pci", iommu=82)
    stack.node.add(new)
    stack.node.remove_dev_node("vfio/82")
    assert stack.ctl("rescan").returncode == 0
    return new.bdf


def test_a_newcomer_is_listed_when_it_is_complete() -> None:
    with Stack(config({**VM_POOL, "health": {"suspectSeconds": 3600}}, ATOM_POOL)) as stack:
        served(stack)
        new = newcomer(stack)
        pool_status(stack, VM, lambda pool: new in pool.devices, what="the supervisor knows it")
        stack.node.add_dev_node("vfio/82")
        allocatable(stack, VM, len(VMS) + 1)
        assert sick_at_the_kubelet(stack, VM) == set()
        assert [len(m.devices) for m in stack.kubelet.messages(VM)] == [2, 3]


def test_a_newcomer_that_stays_incomplete_is_listed_as_what_it_is() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        new = newcomer(stack)
        stack.kubelet.wait(
            lambda k: k.resource(VM).capacity == len(VMS) + 1, what="the newcomer is listed"
        )
        assert stack.kubelet.resource(VM).devices[new].health == "Unhealthy"
        stack.node.add_dev_node("vfio/82")
        allocatable(stack, VM, len(VMS) + 1)


def test_people_are_told_all_of_it() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln0", 3)
        stack.node.set_status("rbln1", 9)
        look(stack)
        device(stack, FIRST, "a fault", phase="unhealthy")
        device(stack, SECOND, "unknown", phase="unknown")
        told = json.loads(stack.ctl("status", "--json").stdout)["pools"][ATOM]["devices"][FIRST]
        since = told.pop("since")
        assert isinstance(since, float)
        assert told == {
            "health": "Unhealthy",
            "reason": "its status is FAULT (3)",
            "numa": 0,
            "phase": "unhealthy",
            "source": "npu-status",
            "warnings": [],
            "pods": [],
        }
        page = stack.ctl("status").stdout
        assert "ago  npu-status: its status is FAULT (3)" in page
        assert "Healthy (unknown)" in page
        explained = stack.ctl("explain", FIRST).stdout.splitlines()[1]
        assert explained.startswith("  Unhealthy  npu-status: its status is FAULT (3)  ")
        assert explained.endswith(" ago")

"""What pods hold stays in the kubelet's list, Unhealthy where it is not there, until they end."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from rbln_supervisor.core.control.protocol import Reload, ReloadReply, Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.sim.device import SimDevice
from tests.sim.kubelet import SimKubelet, kubelet_1_37
from tests.sim.kubelet_records import Listed
from tests.sim.node import SimNode
from tests.sim.nodes import demo
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    allocatable,
    config,
    eventually,
    pool_status,
    served,
)

pytestmark = pytest.mark.system

GRACE = ("--gone-grace", "1")
HELD = ATOMS[0]


def kubelet_1_36(folder: Path) -> SimKubelet:
    """One without the Pods API."""
    return SimKubelet(folder)


BOTH = pytest.mark.parametrize("kubelet", [kubelet_1_37, kubelet_1_36])


def rescan(stack: Stack) -> None:
    assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)


def is_listed(stack: Stack, device: str, health: str = "Unhealthy") -> None:
    stack.kubelet.wait(
        lambda k: (
            device in k.resource(ATOM).devices and k.resource(ATOM).devices[device].health == health
        ),
        what=f"{device} is listed as {health}",
    )


def has_left(stack: Stack, device: str, deadline_s: float = 10.0) -> None:
    stack.kubelet.wait(
        lambda k: device not in k.resource(ATOM).devices and k.resource(ATOM).devices,
        deadline_s,
        what=f"{device} leaves the list",
    )


def first_list_after(stack: Stack, count: int) -> Listed:
    """The first message of ATOM after so many."""
    stack.kubelet.wait(
        lambda k: len(k.messages(ATOM)) > count, what="the first list after the start"
    )
    return stack.kubelet.messages(ATOM)[count]


@BOTH
def test_it_stays_beyond_the_grace_time_and_leaves_with_the_pod(kubelet: type[SimKubelet]) -> None:
    with Stack(TWO_POOLS, arguments=GRACE, kubelet=kubelet) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [HELD])
        stack.node.remove(HELD)
        stack.node.remove(ATOMS[1])  # which nobody holds, and which leaves after the grace time
        rescan(stack)
        is_listed(stack, HELD)
        has_left(stack, ATOMS[1])
        assert stack.kubelet.running.health(pod) == {HELD: "Unhealthy"}
        stack.kubelet.running.delete("train")
        has_left(stack, HELD, deadline_s=30.0)


@BOTH
def test_it_is_in_the_first_list_after_a_start_of_everything(kubelet: type[SimKubelet]) -> None:
    with Stack(TWO_POOLS, kubelet=kubelet) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [HELD, ATOMS[1]])
        stack.stop()
        stack.node.remove(HELD)
        before = len(stack.kubelet.messages(ATOM))
        stack.start()
        first = first_list_after(stack, before)
        assert {one: seen.health for one, seen in first.devices.items()} == {
            HELD: "Unhealthy",
            **dict.fromkeys(ATOMS[1:], "Healthy"),
        }
        assert stack.kubelet.running.health(pod) == {HELD: "Unhealthy", ATOMS[1]: "Healthy"}
        seen = pool_status(stack, ATOM, lambda seen: HELD in seen.devices, what="status has it")
        assert seen.devices[HELD].reason == "unplugged"


def test_a_kubelet_that_is_not_there_yet_has_left_its_checkpoint() -> None:
    """After a reboot: the supervisor is there first, and the kubelet admits by its first list."""
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        stack.stop()
        stack.kubelet.stop()
        stack.node.remove(HELD)
        before = len(stack.kubelet.messages(ATOM))
        stack.start()
        pool_status(stack, ATOM, lambda seen: HELD in seen.devices, what="it is known already")
        stack.kubelet.start()
        assert first_list_after(stack, before).devices[HELD].health == "Unhealthy"
        served(stack)
        stack.kubelet.running.delete("train")
        has_left(stack, HELD)


@BOTH
def test_a_pod_that_ended_while_nobody_looked(kubelet: type[SimKubelet]) -> None:
    """Its entry is still in the checkpoint; the Pods API knows that it is over."""
    with Stack(TWO_POOLS, kubelet=kubelet) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        stack.stop()
        stack.node.remove(HELD)
        stack.kubelet.running.end("train")
        before = len(stack.kubelet.messages(ATOM))
        stack.start()
        first = first_list_after(stack, before)
        if kubelet is kubelet_1_37:
            assert HELD not in first.devices
        else:  # nobody can tell yet whether the kubelet knows the pod: the safe answer
            assert first.devices[HELD].health == "Unhealthy"


def test_a_device_that_comes_back_is_healthy_again() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        device = stack.node.devices[HELD]
        stack.stop()
        stack.node.remove(HELD)
        before = len(stack.kubelet.messages(ATOM))
        stack.start()
        assert first_list_after(stack, before).devices[HELD].health == "Unhealthy"
        stack.node.add(device)
        rescan(stack)
        is_listed(stack, HELD, "Healthy")


def test_it_stays_over_a_reload() -> None:
    with Stack(TWO_POOLS, arguments=GRACE, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        stack.node.remove(HELD)
        rescan(stack)
        is_listed(stack, HELD)
        stack.write_config(config({**ATOM_POOL, "additionalInfo": {"*": {"a": "b"}}}, VM_POOL))
        assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
        stack.node.remove(ATOMS[1])
        rescan(stack)
        has_left(stack, ATOMS[1])
        is_listed(stack, HELD)


def test_a_pool_of_which_pods_hold_all_that_is_gone_is_served() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, ATOMS)
        stack.stop()
        for one in ATOMS:
            stack.node.remove(one)
        before = len(stack.kubelet.messages(ATOM))
        stack.start()
        first = first_list_after(stack, before)
        assert {one: seen.health for one, seen in first.devices.items()} == dict.fromkeys(
            ATOMS, "Unhealthy"
        )
        stack.kubelet.running.delete("train")
        stack.kubelet.wait(lambda k: not k.resource(ATOM).devices, what="all leave with the pod")


def test_a_kubelet_that_restarts_forgets_nothing() -> None:
    with Stack(TWO_POOLS, arguments=GRACE, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        stack.node.remove(HELD)
        rescan(stack)
        is_listed(stack, HELD)
        stack.kubelet.pods_api.initializing = True
        watches = stack.kubelet.pods_api.watches
        stack.kubelet.restart()
        eventually(lambda: stack.kubelet.pods_api.watches > watches, what="it is asked again")
        is_listed(stack, HELD)
        stack.kubelet.pods_api.initializing = False
        eventually(lambda: stack.kubelet.pods_api.watches > watches + 1, what="… and again")
        rescan(stack)
        is_listed(stack, HELD)
        stack.kubelet.running.delete("train")
        has_left(stack, HELD)


def test_a_function_whose_interface_is_in_a_pod_stays_in_its_pool() -> None:
    """After a restart of everything nobody can see what its selectors ask for."""
    bdf, nic = "0000:5e:00.0", "intel.com/nic"
    pools = config(
        ATOM_POOL, VM_POOL, {"resourceName": "nic", "selectors": [{"linkTypes": ["ether"]}]}
    )

    def build(node: SimNode) -> None:
        demo(node)
        node.add(SimDevice(bdf, "8086", "1592", "020000", "ice", net=("nic0",)))

    with Stack(pools, build, kubelet=kubelet_1_37) as stack:
        served(stack, ATOM, VM, nic)
        stack.kubelet.running.admit("train", nic, [bdf])
        stack.stop()
        shutil.rmtree((stack.root / "sys/bus/pci/devices" / bdf / "net").resolve() / "nic0")
        before = len(stack.kubelet.messages(nic))
        stack.start()
        stack.kubelet.wait(lambda k: len(k.messages(nic)) > before, what="the first list")
        assert stack.kubelet.messages(nic)[before].devices[bdf].health == "Healthy"
        stack.kubelet.running.delete("train")
        # Its interface should be back by now; without it nobody can tell what the function is.
        stack.wait_status(
            lambda status: "linkTypes" in status.pools[nic].devices[bdf].reason,
            what="its selectors count again",
        )


@pytest.mark.parametrize(
    "harm",
    ["silent", "garbage", "no checkpoint", "a broken checkpoint", "pod-resources hangs"],
)
def test_a_source_that_fails_hinders_no_start(harm: str) -> None:
    """All pools serve; what pods hold is known as far as any source tells."""
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        kubelet = stack.kubelet
        kubelet.running.admit("train", ATOM, [HELD])
        stack.stop()
        stack.node.remove(HELD)
        match harm:
            case "silent":
                kubelet.pods_api.silent = True
            case "garbage":
                kubelet.pods_api.garbage = b"\xff"
            case "no checkpoint":
                kubelet.running.checkpoint.unlink()
            case "a broken checkpoint":
                kubelet.running.checkpoint.write_bytes(b'{"Data": {"PodDev')
            case _:
                kubelet.pods_api.stop(removed=True)
                kubelet.pods.hang()
        before = len(kubelet.messages(ATOM))
        stack.start()
        assert first_list_after(stack, before).devices[HELD].health == "Unhealthy"
        served(stack, ATOM, VM)
        allocatable(stack, ATOM, len(ATOMS) - 1)


def test_the_process_that_asks_is_started_again() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [HELD])
        (asking,) = stack.pod_watchers()
        os.kill(asking, signal.SIGKILL)
        stack.wait_status(
            lambda status: any("ended" in one.text for one in status.supervisor.problems),
            what="that is a problem",
        )
        stack.wait_status(lambda status: not status.supervisor.problems, what="it is back")
        stack.node.remove(HELD)
        rescan(stack)
        is_listed(stack, HELD)


def test_nothing_of_it_outlives_a_supervisor_that_is_killed() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        assert len(stack.pod_watchers()) == 1
        stack.kill()
        eventually(lambda: not stack.pod_watchers(), what="only the workers are left")

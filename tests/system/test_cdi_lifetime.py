"""A CDI spec is there as long as a pod may start a container by it, and no longer."""

import fcntl
import os
import shutil
from pathlib import Path
from time import monotonic

import pytest

from rbln_supervisor.core.control.protocol import Reload, ReloadReply, Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.cdi import header_line
from tests.sim import atomic, runtime
from tests.sim.kubelet import kubelet_1_37
from tests.sim.pods import SimPod
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM_POOL,
    config,
    eventually,
    pool_status,
    served,
)

pytestmark = pytest.mark.system

CDI = "--use-cdi"
A, B, C, D = ATOMS


def spec(stack: Stack, name: str = "ATOM") -> Path:
    return stack.root / "var/run/cdi" / f"sriov-dp-rebellions.ai-net-accel-{name}.yaml"


def nodes(stack: Stack, pod: SimPod) -> list[str]:
    """What the runtime gives a container of the pod that is started now."""
    container = runtime.run(spec(stack).parent, runtime.claims(pod.answer))
    return [host for host, _, _ in container.nodes]


def switch(stack: Stack, *, on: bool) -> None:
    """Start again with or without CDI."""
    stack.stop()
    stack.arguments = (*(one for one in stack.arguments if not one.startswith(CDI)),)
    if on:
        stack.arguments = (*stack.arguments, CDI)
    stack.start()
    served(stack)


def settled(stack: Stack) -> None:
    """Workers have had a look, after which files that nobody needs are gone."""
    assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
    pool_status(stack, ATOM, lambda seen: seen.state == "serving", what="it serves")


def test_it_stays_over_a_stop_while_a_pod_holds_a_device() -> None:
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [A])
        eventually(lambda: spec(stack).exists(), what="the spec")
        eventually(lambda: is_known(stack), what="the pod is known")
        stack.stop()
        assert not spec(stack, "VM").exists()
        assert "/dev/rbln0" in nodes(stack, pod)
        stack.start()
        served(stack)
        assert "/dev/rbln0" in nodes(stack, pod)
        stack.kubelet.running.delete("train")
        eventually(lambda: not is_known(stack), what="the pod has gone")
        stack.stop()
        assert not spec(stack).exists()
        stack.start()
        served(stack)


def is_known(stack: Stack) -> bool:
    """The supervisor knows of a pod that holds a device of ATOM."""
    devices = stack.status().pools[ATOM].devices.values()
    return any(one.pod == "train" for device in devices for one in device.pods)


def test_it_stays_over_a_change_to_a_mode_without_and_goes_with_the_pod() -> None:
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [A])
        eventually(lambda: is_known(stack), what="the pod is known")
        switch(stack, on=False)
        settled(stack)
        assert "/dev/rbln0" in nodes(stack, pod)
        assert not spec(stack, "VM").exists()
        # A new pod is given nodes, and the spec goes on telling of today's.
        assert stack.kubelet.running.admit("other", ATOM, [B]).nodes
        stack.node.rename_rbln(A, "rbln8")
        stack.node.add_dev_node("rbln8")
        assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        eventually(lambda: "/dev/rbln8" in nodes(stack, pod), what="today's node")
        stack.kubelet.running.delete("train")
        stack.kubelet.running.delete("other")
        eventually(lambda: not spec(stack).exists(), what="nobody needs it")


def test_after_a_reboot_it_is_written_before_the_kubelet_is_there() -> None:
    """Also by a plugin that gives no CDI names any more."""
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [A])
        stack.stop()
        stack.kubelet.stop()
        shutil.rmtree(spec(stack).parent)
        stack.arguments = tuple(one for one in stack.arguments if one != CDI)
        stack.start()
        eventually(lambda: spec(stack).exists(), what="the spec, without a kubelet")
        assert "/dev/rbln0" in nodes(stack, pod)
        assert not spec(stack, "VM").exists()
        stack.kubelet.start()
        served(stack)
        assert "/dev/rbln0" in nodes(stack, pod)


def test_it_stays_while_its_pool_is_not_configured() -> None:
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [A])
        eventually(lambda: is_known(stack), what="the pod is known")
        stack.write_config(config(VM_POOL))
        assert isinstance(send_request(stack.run_dir, Reload(force=True)), ReloadReply)
        stack.wait_status(lambda status: ATOM not in status.pools, what="the pool is gone")
        eventually(lambda: len(stack.processes()) == 2, what="its worker is gone")
        assert "/dev/rbln0" in nodes(stack, pod)
        stack.kubelet.running.delete("train")
        eventually(lambda: not spec(stack).exists(), what="nobody needs it")
        assert spec(stack, "VM").exists()


def test_one_that_is_removed_is_back_at_once_and_said_once() -> None:
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        for remove in (os.unlink, lambda path: atomic.remove(path.parent)):
            remove(spec(stack))
            began = monotonic()
            eventually(lambda: spec(stack).exists(), what="it is back", deadline_s=5.0)
            print(f"back after {1000 * (monotonic() - began):.0f} ms")
        assert stack.log.count("ATOM: the CDI spec was removed and is written again") == 2


def test_another_instances_living_spec_is_left_alone() -> None:
    """One without CDI starts beside it: what has its mark and is locked has a living writer."""
    with Stack(TWO_POOLS, arguments=[], kubelet=kubelet_1_37, late_kubelet=True) as stack:
        stack.wait_status(lambda status: status.pools[ATOM].devices, what="it has begun")
        stack.stop()
        spec(stack).parent.mkdir(parents=True, exist_ok=True)
        for name in ("ATOM", "VM"):
            spec(stack, name).write_text(
                header_line(PoolSpec("rebellions.ai", name, "accelerator"))
            )
        with spec(stack).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            stack.kubelet.start()
            stack.start()
            served(stack)
            eventually(lambda: not spec(stack, "VM").exists(), what="a dead one's is removed")
            settled(stack)
            assert spec(stack).exists()


def test_a_device_that_is_gone_has_no_stale_node_in_it() -> None:
    """Its number may be another device's by now."""
    with Stack(TWO_POOLS, arguments=[CDI], kubelet=kubelet_1_37) as stack:
        served(stack)
        pod = stack.kubelet.running.admit("train", ATOM, [C])
        stack.node.remove(C)
        stack.node.rename_rbln(D, "rbln2")
        stack.node.add_dev_node("rbln2")
        assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        pool_status(
            stack, ATOM, lambda seen: seen.devices[C].reason == "unplugged", what="it is gone"
        )
        eventually(lambda: C not in spec(stack).read_text(), what="it leaves the spec")
        with pytest.raises(AssertionError, match="unresolvable CDI device"):
            nodes(stack, pod)

"""What a reload would take from pods, it takes by force only."""

import json
import os
import shutil
import signal

import grpc
import pytest

from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Reload,
    ReloadReply,
    Reply,
)
from rbln_supervisor.core.matching.plan import Plan
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.ctl.client import send_request
from rbln_worker.contract.pool import PoolName
from tests.sim.device import SimDevice
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
    VMS,
    allocatable,
    config,
    pool,
    served,
    texts,
    untouched,
)

pytestmark = pytest.mark.system

NEW = "rebellions.ai/NEW"
MOVED = config(pool("NEW", pciAddresses=[ATOMS[0]]), ATOM_POOL, VM_POOL)
"""ATOM's first device is another pool's."""
HELD = (
    f"{ATOMS[0]}: pod ml/train-0, container main, uses it as {ATOM}, and it would be in {NEW}",
    "wait until these pods have ended, or remove the devices with rbln-ctl reload --force",
)


def reload(stack: Stack, value: object, *, force: bool = False) -> Reply:
    stack.write_config(value)
    return send_request(stack.run_dir, Reload(force=force))


def test_a_device_that_a_pod_has_stays_until_the_pod_ends() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        pods = stack.kubelet.pods
        pods.hold(ATOM, ATOMS[:1])
        with untouched(stack, ATOM, VM):
            assert reload(stack, MOVED) == ErrorReply(HELD)
            supervisor = stack.status().supervisor
            assert texts(supervisor.problems) == tuple(f"reload refused: {line}" for line in HELD)
            assert supervisor.counters[CounterName.RELOADS_REFUSED] == 1
            done = stack.ctl("reload")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == "".join(f"rbln-ctl: {line}\n" for line in HELD)
        pods.release()
        with untouched(stack, VM):
            assert isinstance(reload(stack, MOVED), ReloadReply)
            allocatable(stack, NEW, 1)
        assert stack.status().supervisor.problems == ()


def test_by_force_it_is_taken() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.pods.hold(ATOM, ATOMS[:1])
        with untouched(stack, VM):
            stack.write_config(MOVED)
            done = stack.ctl("reload", "--force")
            assert done.returncode == 0
            assert done.stderr == "".join(f"forced: {line}\n" for line in HELD[:1])
            assert f"{ATOMS[0]}  {ATOM}  {NEW}" in done.stdout
            allocatable(stack, NEW, 1)
            allocatable(stack, ATOM, len(ATOMS) - 1)


def test_a_signal_and_a_changed_file_never_force() -> None:
    with Stack(TWO_POOLS, watch_config=True) as stack:
        served(stack)
        stack.kubelet.pods.hold(ATOM, ATOMS[:1])
        with untouched(stack, ATOM, VM):
            stack.write_config(MOVED)
            stack.wait_status(lambda s: s.supervisor.problems, what="the file's refusal")
            os.kill(stack.pid, signal.SIGHUP)
            status = stack.wait_status(
                lambda s: s.supervisor.counters[CounterName.RELOADS_REFUSED] == 2,
                what="the signal's",
            )
            assert texts(status.supervisor.problems) == tuple(
                f"reload refused: {line}" for line in HELD
            )


def test_pools_that_go_and_devices_that_no_pool_has() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        pods = stack.kubelet.pods
        pods.hold(VM, [VMS[0]], pod="vm-1", container="qemu")
        pods.hold(ATOM, ATOMS[1:3], pod="train-7")
        fewer = pool("ATOM", pciAddresses=[ATOMS[0]], allowCrossNuma=True)
        with untouched(stack, ATOM, VM):
            reply = reload(stack, config(fewer))
            assert isinstance(reply, ErrorReply)
            assert reply.errors[:-1] == (
                f"{ATOMS[1]}: pod ml/train-7, container main, uses it as {ATOM}, "
                "and it would be in no pool",
                f"{ATOMS[2]}: pod ml/train-7, container main, uses it as {ATOM}, "
                "and it would be in no pool",
                f"{VMS[0]}: pod ml/vm-1, container qemu, uses it as {VM}, "
                "and it would be in no pool",
            )


def test_what_pods_have_and_keep_hinders_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        pods = stack.kubelet.pods
        pods.hold(ATOM, ATOMS[1:])
        pods.hold(VM, VMS)
        pods.hold("other.io/thing", ATOMS[:1])
        with untouched(stack, VM):
            changed = {**ATOM_POOL, "additionalInfo": {"*": {"rack": "7"}}}
            assert isinstance(reload(stack, config(changed, VM_POOL)), ReloadReply)
            reply = reload(stack, MOVED)
            assert isinstance(reply, ReloadReply)
            assert (reply.forced, reply.warnings) == ((), ())
            allocatable(stack, NEW, 1)


def test_a_function_whose_interface_a_pod_has_stays_where_it_is() -> None:
    """Its selectors ask for what can't be seen now; a look for a reload knows it all the same."""
    bdf, nic = "0000:5e:00.0", "intel.com/nic"
    nic_pool: dict[str, object] = {"resourceName": "nic", "selectors": [{"linkTypes": ["ether"]}]}

    def build(node: SimNode) -> None:
        demo(node)
        node.add(SimDevice(bdf, "8086", "1592", "020000", "ice", net=("nic0",)))

    with Stack(config(ATOM_POOL, nic_pool), build) as stack:
        served(stack, ATOM, nic)
        stack.kubelet.pods.hold(nic, [bdf])
        shutil.rmtree((stack.root / "sys/bus/pci/devices" / bdf / "net").resolve() / "nic0")
        with untouched(stack, ATOM):
            reply = reload(stack, config(ATOM_POOL, VM_POOL, nic_pool))
            assert isinstance(reply, ReloadReply), reply
            assert reply.plan.pools_with("added") == (VM,)
            assert {move.device for move in reply.plan.moves} == set(VMS)
            assert reply.plan.pools[PoolName(nic)].devices == (bdf,)
            assert stack.status().pools[nic].devices[bdf].health == "Healthy"
            refused = reload(stack, config(ATOM_POOL, VM_POOL))
            assert isinstance(refused, ErrorReply)
            assert refused.errors[0] == (
                f"{bdf}: pod ml/train-0, container main, uses it as {nic}, "
                "and it would be in no pool"
            )


def test_a_kubelet_that_has_no_such_socket() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.pods.hold(ATOM, ATOMS)
        stack.kubelet.pods.remove()
        with untouched(stack, VM):
            reply = reload(stack, MOVED)
            assert isinstance(reply, ReloadReply)
            assert reply.warnings == (
                "devices left their pools without a check of the pods that use them: "
                f"{stack.kubelet.pods.socket} does not exist",
            )
            allocatable(stack, NEW, 1)
            plan = reply_plan(stack)
            assert plan is not None
            assert len(plan.pools_with("unchanged")) == 3
            assert send_request(stack.run_dir, Reload()) == ReloadReply(plan)


def reply_plan(stack: Stack) -> Plan | None:
    reply = send_request(stack.run_dir, DryRun(stack.config_file.read_bytes()))
    assert isinstance(reply, DryRunReply)
    return reply.plan


def unknown(stack: Stack, why: str) -> None:
    """A reload that takes something is refused, because the kubelet does not say; not by force."""
    before = stack.config_file.read_bytes()
    reply = reload(stack, MOVED)
    assert isinstance(reply, ErrorReply)
    error, advice = reply.errors
    start = (
        "it removes 1 device from pools, and the kubelet does not report whether pods use them ("
    )
    assert error.startswith(f"{start}{stack.kubelet.pods.socket}: List: {why}"), error
    force = "remove the devices with rbln-ctl reload --force"
    assert advice == f"it is tried again until the kubelet reports it, or {force}"
    stack.write_config(before.decode())
    assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)  # which takes nothing


def test_a_kubelet_that_does_not_answer() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        pods = stack.kubelet.pods
        with untouched(stack, ATOM, VM):
            pods.error = grpc.StatusCode.RESOURCE_EXHAUSTED
            unknown(stack, "RESOURCE_EXHAUSTED: as the test wants it")
            pods.error = None
            pods.garbage = b"\xff" * 1000
            unknown(stack, "the answer can't be understood")
            pods.garbage = b"\x0a\x06\x0a\x04\xff\xff\xff\xff"  # a name that is no UTF-8
            unknown(stack, "the answer can't be understood")
            pods.garbage = b"\x00" * (17 * 1024 * 1024)
            unknown(stack, "RESOURCE_EXHAUSTED")
            pods.garbage = None
            pods.hang()
            unknown(stack, "DEADLINE_EXCEEDED")
        assert isinstance(reload(stack, MOVED, force=True), ReloadReply)
        allocatable(stack, NEW, 1)


def test_a_kubelet_that_is_down() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.stop()
        unknown(stack, "UNAVAILABLE")
        assert isinstance(reload(stack, MOVED, force=True), ReloadReply)  # though nobody lists NEW
        stack.kubelet.start()
        served(stack, NEW, ATOM, VM)


def test_a_kubelet_that_comes_back_is_asked_again() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.stop()
        assert isinstance(reload(stack, MOVED), ErrorReply)
        stack.kubelet.start()
        stack.wait_status(lambda status: NEW in status.pools, what="the reload is done")
        served(stack, NEW, ATOM, VM)
        status = stack.wait_status(lambda status: status.supervisor.ready, what="ready")
        assert not status.supervisor.problems
        assert status.supervisor.counters[CounterName.RELOADS_REFUSED] == 1
        assert stack.log.count("reload refused") == 1


def test_a_kubelet_that_never_says_is_asked_until_the_file_is_another_one() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        pods = stack.kubelet.pods
        pods.error = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(reload(stack, MOVED), ErrorReply)
        stack.wait_status(lambda _: pods.asked >= 3, what="it is asked again")
        assert stack.log.count("reload refused") == 1
        stack.write_config(TWO_POOLS)
        stack.wait_status(
            lambda status: status.supervisor.counters.get(CounterName.RELOADS) == 1,
            what="the other file",
        )
        assert not stack.status().supervisor.problems


def test_a_dry_run_says_what_would_be_refused() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.pods.hold(ATOM, ATOMS[:1])
        file = stack.config_file.with_suffix(".next")
        file.write_text(json.dumps(MOVED))
        with untouched(stack, ATOM, VM):
            done = stack.ctl("validate", str(file), "--against-host")
        assert done.returncode == 0
        assert done.stderr == "".join(f"a reload would be refused: {line}\n" for line in HELD[:1])

"""Devices that the container runtime adds, by the pools' CDI specs."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rbln_supervisor.core.control.protocol import Rescan
from rbln_supervisor.ctl.client import send_request
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim import runtime
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
    VMS,
    allocatable,
    config,
    eventually,
    pool,
    pool_status,
    served,
)

pytestmark = pytest.mark.system

NIC = "intel.com/nic"
NIC_BDF = "0000:3b:00.0"
ODD = "1odd.com/FPGA"
ODD_BDF = "0000:e1:00.0"
POOLS = config(
    ATOM_POOL,
    pool("VM", vendors=["1eff"], drivers=["vfio-pci"]),
    {"resourceName": "nic", "selectors": {"drivers": ["ice"]}},
    pool("FPGA", prefix="1odd.com", vendors=["8086"]),
)


def build(node: SimNode) -> None:
    demo(node)
    node.add(
        SimDevice(NIC_BDF, "8086", "1592", "020000", "ice", net=("ens1f0",)),
        SimDevice(ODD_BDF, "8086", "09c4", driver="vfio-pci", iommu=7),
    )


def folder(stack: Stack) -> Path:
    return stack.root / "var/run/cdi"


def specs(stack: Stack) -> list[str]:
    return sorted(path.name for path in folder(stack).glob("*.yaml"))


def spec_of(name: str) -> str:
    return f"sriov-dp-rebellions.ai-net-accel-{name}.yaml"


SPECS = [spec_of("ATOM"), spec_of("VM")]


def allocate(stack: Stack, name: str, ids: Sequence[str]) -> pb.ContainerAllocateResponse:
    (answer,) = stack.kubelet.allocate(name, [ids]).container_responses
    return answer


def started(stack: Stack, *answers: pb.ContainerAllocateResponse) -> runtime.Container:
    """What a container with these answers is given by its runtime."""
    claimed = [name for answer in answers for name in runtime.claims(answer)]
    return runtime.run(folder(stack), claimed)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(POOLS, build, arguments=["--use-cdi"]) as stack:
        served(stack, ATOM, VM, NIC, ODD)
        yield stack


def test_a_container_gets_its_devices_and_the_tool_from_the_runtime(stack: Stack) -> None:
    answer = allocate(stack, ATOM, [ATOMS[2], ATOMS[0]])
    assert not answer.devices
    assert not answer.mounts
    names = [f"rebellions.ai/net-accel={device}" for device in (ATOMS[0], ATOMS[2])]
    assert [device.name for device in answer.cdi_devices] == names
    assert dict(answer.annotations) == {"cdi.k8s.io/rebellions.ai_net-accel_ATOM": ",".join(names)}
    assert answer.envs["PCIDEVICE_REBELLIONS_AI_ATOM"] == f"{ATOMS[0]},{ATOMS[2]}"
    container = started(stack, answer)
    assert [inside for _, inside, _ in container.nodes] == ["/dev/rbln0", "/dev/rsd0", "/dev/rbln2"]
    assert container.mounts == (("/usr/local/bin/rbln-stat", "/usr/bin/rbln-stat", True),)


def test_two_pools_of_one_kind_can_be_in_one_container(stack: Stack) -> None:
    one, two = allocate(stack, ATOM, [ATOMS[1]]), allocate(stack, VM, [VMS[1]])
    assert not one.annotations.keys() & two.annotations.keys()
    container = started(stack, one, two)
    paths = {inside for _, inside, _ in container.nodes}
    assert paths == {"/dev/rbln1", "/dev/rsd0", "/dev/vfio/vfio", "/dev/vfio/81"}


def test_a_pool_whose_devices_have_no_nodes_is_served_and_claims_nothing(stack: Stack) -> None:
    answer = allocate(stack, NIC, [NIC_BDF])
    assert not runtime.claims(answer)
    assert answer.envs["PCIDEVICE_INTEL_COM_NIC"] == NIC_BDF
    assert specs(stack) == SPECS


def test_a_pool_whose_prefix_is_no_vendor_is_served_without(stack: Stack) -> None:
    answer = allocate(stack, ODD, [ODD_BDF])
    assert not runtime.claims(answer)
    assert [device.host_path for device in answer.devices] == ["/dev/vfio/vfio", "/dev/vfio/7"]
    (problem,) = stack.status().pools[ODD].problems
    assert "'1odd.com' is no CDI vendor" in problem.text
    assert "'1odd.com' is no CDI vendor" in stack.ctl("status").stdout
    assert not stack.status().pools[ATOM].problems


@pytest.mark.parametrize(
    ("mode", "annotated", "in_field"), [("annotations", True, False), ("cri", False, True)]
)
def test_a_claim_can_be_said_in_one_way(mode: str, *, annotated: bool, in_field: bool) -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi", "--cdi-mode", mode]) as stack:
        served(stack)
        answer = allocate(stack, ATOM, [ATOMS[0]])
        assert bool(answer.annotations) is annotated
        assert bool(answer.cdi_devices) is in_field
        assert len(started(stack, answer).nodes) == 2


def test_a_device_that_changes_is_given_out_when_the_spec_has_changed() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"]) as stack:
        served(stack)
        vm = (folder(stack) / spec_of("VM")).stat().st_ino
        stack.node.remove_dev_node("rbln0")
        allocatable(stack, ATOM, 3)
        stack.node.rename_rbln(ATOMS[0], "rbln9")
        stack.node.add_dev_node("rbln9")
        allocatable(stack, ATOM, 4)
        container = started(stack, allocate(stack, ATOM, [ATOMS[0]]))
        assert container.nodes[0] == ("/dev/rbln9", "/dev/rbln9", "rw")
        assert (folder(stack) / spec_of("VM")).stat().st_ino == vm


def test_specs_outlive_workers_and_supervisors_and_go_with_their_pools() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"]) as stack:
        served(stack)
        foreign = folder(stack) / "sriov-dp-intel.com-net-pci-dpdk.yaml"
        foreign.write_text("another's")
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        stack.wait_status(lambda s: s.pools[ATOM].worker.restarts, what="a new life")
        assert specs(stack) == sorted([foreign.name, *SPECS])
        stack.kill()
        stack.start()
        served(stack)
        assert specs(stack) == sorted([foreign.name, *SPECS])
        stack.write_config(config(ATOM_POOL))
        assert stack.ctl("reload").returncode == 0
        eventually(lambda: specs(stack) == sorted([foreign.name, SPECS[0]]), what="one spec")
        assert stack.stop().code == 0
        assert specs(stack) == [foreign.name]


@pytest.mark.parametrize("list_lost", [False, True])
def test_what_a_crash_left_goes_at_the_next_start_without_cdi(*, list_lost: bool) -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"]) as stack:
        served(stack)
        stack.kill()
        for pid in stack.processes():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not stack.processes(), what="nobody lives")
        if list_lost:
            for path in (stack.run_dir / "pools").glob("*.files"):
                path.unlink()
        assert specs(stack) == SPECS
        stack.arguments = ("--use-cdi=false",)
        stack.start()
        served(stack)
        eventually(lambda: not specs(stack), what="no spec")
        assert len(allocate(stack, ATOM, [ATOMS[0]]).devices) == 2


def test_a_spec_that_cannot_be_written_is_one_pools_trouble() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"], late_kubelet=True) as stack:
        blocked = folder(stack) / SPECS[0]
        blocked.mkdir(parents=True)
        stack.kubelet.start()
        served(stack, VM)
        seen = pool_status(
            *(stack, ATOM),
            lambda seen: seen.problems and seen.worker.failed_writes,  # with the next heartbeat
            what="a problem",
        )
        (problem,) = seen.problems
        assert problem.text.startswith("its CDI spec can't be written: ")
        assert "Is a directory" in problem.text
        assert {device.reason for device in seen.devices.values()} == {problem.text}
        assert stack.kubelet.resource(ATOM).allocatable == 0
        blocked.rmdir()
        send_request(stack.run_dir, Rescan())
        allocatable(stack, ATOM, 4)
        assert started(stack, allocate(stack, ATOM, [ATOMS[0]])).nodes
        assert not pool_status(stack, ATOM, lambda seen: not seen.problems, what="none").problems
        assert stack.status().pools[ATOM].worker.restarts == 0

"""Memory, descriptors and disks that are used up: one pool's trouble at most, and it passes."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import AF_UNIX, socket

import grpc
import pytest

from rbln_supervisor.core.control.protocol import Rescan
from rbln_supervisor.ctl.client import send_request
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.endpoint import MAX_REQUEST_BYTES
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.nodes import for_machines, npus
from tests.sim.rpc import DEVICE_PLUGIN, channel_to, code_of, unary
from tests.sim.stack import REPOSITORY, Stack
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
    served,
    untouched,
)

pytestmark = pytest.mark.system

FREE_FOR_S = 30.0
"""A file is tried again within 10 s, a worker that was born meanwhile may be in back-off."""


# Memory


@pytest.mark.parametrize("count", [80, 192])
def test_a_worker_that_needs_too_much_memory_dies_alone_and_says_so(count: int) -> None:
    """A configuration may be 1 MiB, and each device's answer holds all of its additionalInfo.

    It is a device's answer that finds no memory, a thread's stack, or in the narrow case gRPC.
    """
    greedy = {**ATOM_POOL, "additionalInfo": {"*": {"key": "x" * 900_000}}}
    with Stack(
        config(greedy, VM_POOL),
        lambda node: node.add(*npus(count), *for_machines()),
        arguments=("--worker-memory-max", "256MiB"),
    ) as stack:
        served(stack, VM)
        with untouched(stack, VM):
            # On a busy machine some of its lives may be so slow that they are taken for hung.
            status = stack.wait_status(
                lambda status: (
                    status.pools[ATOM].state == "backoff"
                    and "exit code 71 (out of memory)" in status.pools[ATOM].reason
                ),
                60.0,
                what="a pool in back-off, out of memory",
            )
            seen = status.pools[ATOM]
            assert (seen.worker.last_exit or "").startswith("exit code 71 (out of memory)")
            assert seen.worker.last_log[-1] == (
                f"{ATOM}: out of memory (limit: 268435456 bytes, --worker-memory-max)"
            )
            stack.write_config(config(ATOM_POOL, VM_POOL))
            assert stack.ctl("reload").returncode == 0
            stack.kubelet.wait_listed(ATOM, count, count)


@pytest.mark.parametrize(
    ("flags", "most"),
    [((), 1 << 30), (("--worker-memory-max=none",), -1), (("--worker-memory-max=2GiB",), 2 << 30)],
)
def test_the_limit_is_the_kernels(flags: tuple[str, ...], most: int) -> None:
    with Stack(TWO_POOLS, arguments=flags) as stack:
        served(stack)
        former = resource.getrlimit(resource.RLIMIT_DATA)
        for pid in stack.workers().values():
            found = resource.prlimit(pid, resource.RLIMIT_DATA)
            assert found == ((most, most) if most > 0 else former)
        assert resource.prlimit(stack.pid, resource.RLIMIT_DATA) == former


def test_requests_are_bounded() -> None:
    with Stack(TWO_POOLS) as stack:
        endpoint = served(stack).pools[ATOM].endpoint
        assert endpoint is not None
        with (
            untouched(stack, ATOM, VM),
            channel_to(stack.kubelet.plugins / endpoint) as channel,
        ):
            call = unary(channel, DEVICE_PLUGIN, "Allocate", pb.AllocateResponse)
            request = pb.AllocateRequest()
            request.container_requests.add(devicesIDs=["x" * MAX_REQUEST_BYTES])
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=10.0)
            assert code_of(caught.value) == "RESOURCE_EXHAUSTED"
            # Many at once, of those that are just short enough.
            request = pb.AllocateRequest()
            request.container_requests.add(devicesIDs=["x" * (MAX_REQUEST_BYTES - 100)])
            calls = [call.future(request, timeout=60.0) for _ in range(96)]
            codes = {one.code().name for one in calls}
            assert codes == {"INVALID_ARGUMENT"}


# Descriptors


@contextmanager
def used_up(pid: int) -> Iterator[None]:
    """A process may open nothing more."""
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit_to_open_files(pid)
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


def limit_to_open_files(pid: int) -> None:
    """Leave a process the descriptors that it has open now."""
    numbers = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    first = next(number for number in range(len(numbers) + 1) if number not in numbers)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first, hard))


def reads_nothing(stack: Stack, pid: int) -> bool:
    """Have a worker read its devices; a file open while the numbers were read left one free."""
    limit_to_open_files(pid)
    send_request(stack.run_dir, Rescan())
    return stack.kubelet.comes(lambda k: k.resource(ATOM).allocatable == 0, 1.0)


def test_a_worker_whose_table_is_full_serves_on_and_says_what_it_can_not_read() -> None:
    with Stack(TWO_POOLS) as stack:
        pid = served(stack).pools[ATOM].worker.pid
        assert pid is not None
        with untouched(stack, VM):
            with used_up(pid):
                eventually(lambda: reads_nothing(stack, pid), what="no device can be read")
                stack.kubelet.wait_listed(ATOM, 0, len(ATOMS))
                seen = stack.status().pools[ATOM]
                assert os.strerror(errno.EMFILE) in seen.devices[ATOMS[0]].reason
                with pytest.raises(grpc.RpcError, match=os.strerror(errno.EMFILE)):
                    stack.kubelet.allocate(ATOM, [[ATOMS[0]]])
            allocatable(stack, ATOM, len(ATOMS), FREE_FOR_S)
            stack.kubelet.allocate(ATOM, [[ATOMS[0]]])
        assert stack.workers()[ATOM] == pid


def test_pools_serve_on_while_a_supervisor_whose_table_is_full_is_replaced() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        own = resource.prlimit(stack.pid, resource.RLIMIT_NOFILE)
        assert own[0] == min(own[1], 65536) or own[0] > 65536
        with untouched(stack, ATOM, VM):
            limit_to_open_files(stack.pid)
            with ExitStack() as opened:

                def has_ended() -> bool:
                    """Connect once more: libzmq aborts where it cannot accept a connection."""
                    client = opened.enter_context(socket(AF_UNIX))
                    return client.connect_ex(str(stack.run_dir / "control.sock")) != 0

                eventually(has_ended, what="the supervisor ends")
            assert stack.wait_exit() == -signal.SIGABRT
            stack.start()
            served(stack)
        assert stack.ctl("rescan").returncode == 0
        stack.wait_status(lambda now: not now.supervisor.problems, what="no problem is left")


# Disks

INSIDE = """
import sys
sys.path.insert(0, {repository!r})
from tests.system.test_exhaustion import in_a_namespace
in_a_namespace()
"""
VF = "0000:3b:02.0"
NIC = "intel.com/nic"


def build(node: SimNode) -> None:
    node.add(
        *npus(1),
        SimDevice("0000:3b:00.0", "8086", "1592", "020000", "ice", totalvfs=8, net=("ens1f0",)),
        SimDevice(VF, "8086", "1889", "020000", "vfio-pci", pf="0000:3b:00.0", iommu=20),
    )


def in_a_namespace() -> None:
    """The folders are file systems without room for a byte, then with."""
    nic: dict[str, object] = {"resourceName": "nic", "selectors": {"pciAddresses": [VF]}}
    stack = Stack(config(ATOM_POOL, nic), build, arguments=("--use-cdi",), late_kubelet=True)
    folders = [
        stack.root / "var/run/k8s.cni.cncf.io/devinfo/dp",
        stack.root / "var/run/cdi",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)]
        subprocess.run(mount, check=True, timeout=20)
        (folder / "full").write_bytes(bytes(16384))
    with stack:
        try:
            stack.kubelet.start()
            stack.kubelet.wait_listed(NIC, 0, 1)
            stack.kubelet.wait_listed(ATOM, 0, 1)
            status = stack.wait_status(
                lambda s: (
                    all(
                        os.strerror(errno.ENOSPC) in d.reason
                        for p in s.pools.values()
                        for d in p.devices.values()
                    )
                    and all(p.devices for p in s.pools.values())
                ),
                what="the disk is the reason",
            )
            assert status.pools[NIC].devices[VF].source in {"device-info", "cdi"}
            for folder in folders:
                assert [path.name for path in folder.iterdir()] == ["full"]
                (folder / "full").unlink()
            for name in (NIC, ATOM):
                allocatable(stack, name, 1, FREE_FOR_S)
            names = sorted(path.name for folder in folders for path in folder.iterdir())
            assert names == [
                f"intel.com-nic-{VF}-device.json",
                "sriov-dp-intel.com-net-pci-nic.yaml",
                "sriov-dp-rebellions.ai-net-accel-ATOM.yaml",
            ]
            assert all(pool.worker.restarts == 0 for pool in stack.status().pools.values())
        finally:
            for folder in folders:
                subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=20)


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    own = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        own += ["--map-root-user", "--user"]
    script = INSIDE.format(repository=str(REPOSITORY))
    may = subprocess.run([*own, "mount", "-t", "tmpfs", "n", tmp_path], check=False, timeout=20)
    if may.returncode:
        pytest.skip("no mount namespace for us")
    done = subprocess.run(
        [*own, sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]

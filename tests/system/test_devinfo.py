"""Device-info files on the host: there before a device is given out, gone with their pool."""

import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from rbln_supervisor.core.control.protocol import Rescan
from rbln_supervisor.ctl.client import send_request
from tests.sim import atomic
from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.stack import Stack
from tests.system.scene import (
    allocatable,
    config,
    details_of,
    eventually,
    pool_status,
    served,
    texts,
)

pytestmark = pytest.mark.system

PF = "0000:3b:00.0"
VFS = ("0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2")
A, B = "intel.com/a", "intel.com/b"
IN_A, IN_B = VFS[:2], VFS[2:]


def build(node: SimNode) -> None:
    node.add(
        SimDevice(PF, "8086", "1592", "020000", "ice", totalvfs=8, net=("ens1f0",)),
        *(
            SimDevice(vf, "8086", "1889", "020000", "vfio-pci", pf=PF, iommu=20 + number)
            for number, vf in enumerate(VFS)
        ),
    )


def nic_pool(name: str, *addresses: str, **rest: object) -> dict[str, object]:
    selectors = {"pciAddresses": list(addresses)}
    return {"resourceName": name, "selectors": selectors, **rest}


POOL_A, POOL_B = nic_pool("a", *IN_A), nic_pool("b", *IN_B)
BOTH = config(POOL_A, POOL_B)


def folder(stack: Stack) -> Path:
    return stack.root / "var/run/k8s.cni.cncf.io/devinfo/dp"


def files(stack: Stack) -> dict[str, str]:
    """The texts of the files of all pools, by name; not of those that are being made."""
    texts = {}
    for path in folder(stack).glob("*-device.json"):
        with contextlib.suppress(FileNotFoundError):  # a worker has removed it meanwhile
            texts[path.name] = path.read_text()
    return texts


def expected(*pools: tuple[str, tuple[str, ...]]) -> dict[str, str]:
    return {
        f"intel.com-{name}-{vf}-device.json": (
            f'{{"type":"pci","version":"1.1.0","pci":{{"pci-address":"{vf}"}}}}'
        )
        for name, vfs in pools
        for vf in vfs
    }


ALL = expected(("a", IN_A), ("b", IN_B))


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(BOTH, build, arguments=("--gone-grace", "0.2")) as stack:
        served(stack, A, B)
        yield stack


def test_every_device_that_can_be_had_has_its_file(stack: Stack) -> None:
    assert files(stack) == ALL
    assert stat.S_IMODE(folder(stack).stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder(stack).glob("*-device.json")} == {
        0o444
    }


def test_files_outlive_workers_and_supervisors(stack: Stack) -> None:
    one = folder(stack) / next(iter(ALL))
    with one.open() as reader:
        os.kill(stack.workers()[A], signal.SIGKILL)
        stack.wait_status(lambda s: s.pools[A].worker.restarts, what="a new life")
        assert files(stack) == ALL
        allocatable(stack, A, len(IN_A))
        stack.kill()
        assert files(stack) == ALL
        stack.start()
        served(stack, A, B)
        assert files(stack) == ALL
        assert reader.read() == next(iter(ALL.values()))


def test_the_files_of_a_pool_go_with_it_and_no_others(stack: Stack) -> None:
    (folder(stack) / "intel.com-a-foreign-device.json").write_text("another's")
    kept = {"intel.com-a-foreign-device.json": "another's"}
    stack.write_config(config(POOL_B))
    assert stack.ctl("reload").returncode == 0
    eventually(lambda: files(stack) == expected(("b", IN_B)) | kept, what="the files of one pool")
    assert stack.stop().code == 0
    assert files(stack) == kept


def test_the_files_of_a_pool_that_went_while_nobody_looked_go_at_the_next_start(
    stack: Stack,
) -> None:
    stack.kill()
    for pid in stack.processes():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not stack.processes(), what="nobody lives")
    assert files(stack) == ALL
    stack.write_config(config(POOL_B))
    stack.start()
    served(stack, B)
    assert files(stack) == expected(("b", IN_B))


def test_a_device_takes_its_file_along(stack: Stack) -> None:
    stack.node.remove(IN_A[0])
    assert stack.ctl("rescan").returncode == 0
    eventually(lambda: files(stack) == expected(("a", IN_A[1:]), ("b", IN_B)), what="a file less")


def test_a_file_that_somebody_removes_comes_back(stack: Stack) -> None:
    for name in ALL:
        (folder(stack) / name).unlink()
    send_request(stack.run_dir, Rescan())
    eventually(lambda: files(stack) == ALL, what="the files are back")


def test_a_list_of_files_that_cannot_be_written_is_told_and_written_when_it_can(
    stack: Stack,
) -> None:
    place = stack.run_dir / "pools" / f"{A.replace('/', '_')}.files"
    content = place.read_bytes()
    atomic.put_folder(place)
    send_request(stack.run_dir, Rescan())
    told = pool_status(stack, A, lambda seen: seen.problems, what="a problem")
    assert texts(told.problems) == (f"{place}: Is a directory",)
    place.rmdir()  # nobody looks again for it
    pool_status(stack, A, lambda seen: not seen.problems, what="no problem any more")
    assert place.read_bytes() == content


def test_a_file_that_cannot_be_written_is_one_devices_trouble() -> None:
    with Stack(BOTH, build, late_kubelet=True) as stack:
        blocked = next(iter(ALL))
        (folder(stack) / blocked).mkdir(parents=True)
        stack.kubelet.start()
        served(stack, A, B)
        allocatable(stack, A, 1)
        seen = pool_status(
            stack,
            A,
            lambda seen: seen.devices[IN_A[0]].health == "Unhealthy" and seen.worker.failed_writes,
            what="one that is unhealthy",
        )
        why = seen.devices[IN_A[0]].reason
        assert why.startswith("its device-info file can't be written: ")
        assert blocked in why
        assert "Is a directory" in why
        with pytest.raises(grpc.RpcError) as caught:
            stack.kubelet.allocate(A, [[IN_A[0]]])
        assert why in details_of(caught.value)
        stack.kubelet.allocate(A, [[IN_A[1]]])
        assert stack.log.count(why) == 2  # when it was found, and when it was refused
        (folder(stack) / blocked).rmdir()
        send_request(stack.run_dir, Rescan())
        allocatable(stack, A, 2)
        assert files(stack) == ALL
        assert stack.status().pools[A].worker.restarts == 0

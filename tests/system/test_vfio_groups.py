"""IOMMU groups: viable ones, shared ones, and the character devices for iommufd."""

from collections.abc import Callable

import grpc
import pytest

from tests.sim.device import SimDevice
from tests.sim.node import SimNode
from tests.sim.stack import Stack
from tests.system.scene import VM, VM_POOL, allocatable, config, eventually, pool, pool_status

pytestmark = pytest.mark.system

VMS = tuple(f"0000:{bus}:00.0" for bus in (60, 61, 62, 63))


def vm(n: int, group: int, *, numa: int = 0) -> SimDevice:
    return SimDevice(VMS[n], device="1220", driver="vfio-pci", numa=numa, iommu=group)


def neighbour(bdf: str, group: int, driver: str | None) -> SimDevice:
    return SimDevice(bdf, vendor="8086", device="1234", driver=driver, iommu=group)


def machine(*devices: SimDevice) -> Callable[[SimNode], None]:
    return lambda node: node.add(*devices)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (
            [neighbour("0000:60:00.1", 80, "snd_hda_intel")],
            "its IOMMU group 80 is not viable: 0000:60:00.1 is bound to snd_hda_intel",
        ),
        (
            [neighbour("0000:5f:00.0", 80, "pcieport"), neighbour("0000:70:00.0", 80, "nvme")],
            "its IOMMU group 80 is not viable: 0000:70:00.0 is bound to nvme",
        ),
        (
            [neighbour("0000:60:00.1", 80, "xhci_hcd"), neighbour("0000:60:00.2", 80, "ahci")],
            "0000:60:00.1 is bound to xhci_hcd, 0000:60:00.2 is bound to ahci",
        ),
    ],
)
def test_a_neighbour_with_a_host_driver(others: list[SimDevice], reason: str) -> None:
    with Stack(config(VM_POOL), machine(vm(0, 80), vm(1, 81), *others)) as stack:
        allocatable(stack, VM, 1)
        seen = pool_status(
            stack, VM, lambda pool: pool.devices[VMS[0]].health == "Unhealthy", what="not viable"
        )
        assert reason in seen.devices[VMS[0]].reason
        with pytest.raises(grpc.RpcError, match="is not viable"):
            stack.kubelet.allocate(VM, [[VMS[0]]])
        assert "is not viable" in stack.ctl("doctor").stdout
        for one in others:
            stack.node.unbind(one.bdf)
        stack.ctl("rescan")
        allocatable(stack, VM, 2)


@pytest.mark.parametrize("driver", [None, "vfio-pci", "pci-stub", "pcieport", "mlx5_vfio_pci"])
def test_a_neighbour_that_lets_go(driver: str | None) -> None:
    other = neighbour("0000:60:00.1", 80, driver)
    mine = pool("VM", drivers=["vfio-pci"], vendors=["1eff"])
    with Stack(config(mine), machine(vm(0, 80), other)) as stack:
        allocatable(stack, VM, 1)
        stack.node.bind(other.bdf, "nvme")
        stack.ctl("rescan")
        allocatable(stack, VM, 0)


def test_shared_groups_are_given_out_whole_and_named() -> None:
    shape = machine(vm(0, 80), vm(1, 81), vm(2, 80), vm(3, 81))
    with Stack(config(VM_POOL), shape) as stack:
        allocatable(stack, VM, 4)
        assert stack.kubelet.preferred(VM, VMS, [], 2) == [VMS[0], VMS[2]]
        assert stack.kubelet.preferred(VM, VMS[1:], [], 2) == [VMS[1], VMS[3]]
        assert stack.kubelet.preferred(VM, VMS, [VMS[3]], 2) == [VMS[1], VMS[3]]
        said = " ".join(stack.ctl("explain", VMS[2]).stdout.split())
        assert f"its IOMMU group 80 also has {VMS[0]}" in said


def share_a_group(node: SimNode) -> None:
    """Firmware without ACS: the second device's group is the first one's."""
    first, second = (f"/sys/bus/pci/devices/{bdf}" for bdf in VMS[:2])
    group = (node.root / first.lstrip("/") / "iommu_group").resolve()
    link = node.root / second.lstrip("/") / "iommu_group"
    link.unlink()
    link.symlink_to(group)
    node.tree.link(f"/sys/kernel/iommu_groups/{group.name}/devices/{VMS[1]}", second)


def test_a_group_that_becomes_another_one_counts_from_then_on() -> None:
    with Stack(config(VM_POOL), machine(vm(0, 80), vm(1, 81), vm(2, 82))) as stack:
        allocatable(stack, VM, 3)
        share_a_group(stack.node)  # of 60 and 61
        stack.ctl("rescan")
        eventually(
            lambda: (
                stack.kubelet.preferred(VM, [VMS[1], VMS[2]], [VMS[0]], 2) == list(VMS[:2])
                and stack.kubelet.preferred(VM, VMS[:3], [], 1) == [VMS[2]]
            ),
            what="the group stays together",
        )


@pytest.mark.parametrize("wanted", [True, False])
def test_iommufd(*, wanted: bool) -> None:
    def build(node: SimNode) -> None:
        node.add(vm(0, 80), vm(1, 81))
        node.tree.write(f"/sys/bus/pci/devices/{VMS[0]}/vfio-dev/vfio3/dev", "239:3\n")
        for name in ("iommu", "vfio/devices/vfio3"):
            node.add_dev_node(name)

    with Stack(config({**VM_POOL, "iommufd": wanted}), build) as stack:
        allocatable(stack, VM, 2)
        answer = stack.kubelet.allocate(VM, [VMS[:2]]).container_responses[0]
        assert [one.host_path for one in answer.devices] == [
            *("/dev/vfio/vfio", "/dev/vfio/80"),
            *(["/dev/vfio/devices/vfio3", "/dev/iommu"] if wanted else []),
            "/dev/vfio/81",
        ]
        if wanted:  # it is named by sysfs, and no longer there to be opened
            stack.node.remove_dev_node("vfio/devices/vfio3")
            stack.ctl("rescan")
            allocatable(stack, VM, 1)
            eventually(
                lambda: "vfio3 does not exist" in stack.status().pools[VM].devices[VMS[0]].reason,
                what="its reason",
            )

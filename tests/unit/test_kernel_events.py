"""What uevents mean to pools."""

import pytest
from msgspec.structs import replace

from rbln_supervisor.core.discovery.uevents import is_relevant, pci_function
from rbln_supervisor.core.workers.desired_state import DesiredState, affected_devices
from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.pool import PoolName, PoolSpec
from tests.unit.inventory import P0, npu, pf, sf

NPU = "/devices/pci0000:20/0000:20:01.0/0000:23:00.0"


@pytest.mark.parametrize(
    ("subsystem", "devpath", "expected"),
    [
        ("pci", NPU, True),
        ("auxiliary", "/devices/pci0000:3a/0000:3b:00.0/mlx5_core.sf.4", True),
        ("net", "/devices/pci0000:3a/0000:3b:00.0/net/p0", True),
        ("vfio", "/devices/virtual/vfio/17", True),
        ("rebellions", "/devices/virtual/rebellions/rbln0", True),
        ("", NPU, True),
        ("net", "/devices/virtual/net/veth12", False),
        ("block", "/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1", False),
        ("usb", "/devices/pci0000:00/0000:00:14.0/usb1", False),
        ("", "/devices/system/cpu/cpu1", False),
        ("", "", False),
    ],
)
def test_which_events_concern_devices(subsystem: str, devpath: str, *, expected: bool) -> None:
    assert is_relevant(subsystem, devpath) is expected


@pytest.mark.parametrize(
    ("devpath", "expected"),
    [
        (NPU, "0000:23:00.0"),
        (f"{NPU}/rebellions/rbln0", "0000:23:00.0"),
        ("/devices/virtual/vfio/17", None),
        ("10000:e1:00.0", "10000:e1:00.0"),
        ("/devices/0000:23:00.9", None),
    ],
)
def test_which_function_an_event_names(devpath: str, expected: str | None) -> None:
    assert pci_function(devpath) == expected


ATOM, SF = PoolName("x.io/atom"), PoolName("x.io/sf")
ROSTERS = {
    ATOM: DesiredState(
        PoolSpec("x.io", "atom", "accelerator"),
        {
            DeviceId(bdf): Device(DeviceId(bdf), npu(bdf))
            for bdf in ("0000:23:00.0", "0000:24:00.0")
        },
    ),
    SF: DesiredState(
        PoolSpec("x.io", "sf", "auxNetDevice"),
        {DeviceId(one.name): Device(DeviceId(one.name), pf(), one) for one in (sf(4), sf(5))},
    ),
    PoolName("x.io/none"): DesiredState(PoolSpec("x.io", "none", "accelerator")),
}


def test_devices_of_the_functions_that_are_named() -> None:
    assert affected_devices({Bdf("0000:24:00.0")}, ROSTERS) == {ATOM: ("0000:24:00.0",)}
    assert affected_devices({P0, Bdf("0000:99:00.0")}, ROSTERS) == {
        SF: ("mlx5_core.sf.4", "mlx5_core.sf.5")
    }
    assert affected_devices(set(), ROSTERS) == {}


def test_an_event_that_names_no_function_touches_no_device_by_name() -> None:
    assert affected_devices({None, Bdf("0000:24:00.0")}, ROSTERS) == {ATOM: ("0000:24:00.0",)}
    assert affected_devices({None}, ROSTERS) == {}


def test_neighbours_in_the_iommu_group_are_concerned() -> None:
    a, b, c, d = (Bdf(f"0000:2{number}:00.0") for number in range(3, 7))
    groups = {a: "7", b: "7", c: "8", d: ""}
    rosters = {
        PoolName(f"x.io/{name}"): DesiredState(
            PoolSpec("x.io", name, "accelerator"),
            {
                DeviceId(bdf): Device(DeviceId(bdf), replace(npu(bdf), iommu_group=groups[bdf]))
                for bdf in bdfs
            },
        )
        for name, bdfs in (("vm", (a, c)), ("other", (b, d)))
    }

    def concerned(*functions: Bdf | None) -> dict[str, list[str]]:
        found = affected_devices(frozenset(functions), rosters)
        return {str(pool): [str(one) for one in devices] for pool, devices in found.items()}

    assert concerned(b) == {"x.io/vm": [a], "x.io/other": [b]}
    assert concerned(d) == {"x.io/other": [d]}
    assert concerned(Bdf("0000:99:00.0")) == {"x.io/vm": [a, c], "x.io/other": [b]}
    assert concerned(None) == {}

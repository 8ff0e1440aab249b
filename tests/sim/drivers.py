"""What a driver adds to a node when it is bound to a device: nothing is written here."""

from typing import Final

from tests.sim.device import SimDevice
from tests.sim.parts import Parts, joined
from tests.sim.sysfs_net import interfaces, rdma, subfunction, vdpa

STATUS_READY: Final = 0
KMD: Final = "3.0.0"
"""The kernel driver's version, as in /sys/class/rebellions/<rblnN>/kernel_version."""

DRAM_BYTES: Final = 16_877_879_296
"""An NPU's memory, as in /sys/class/rebellions/<rblnN>/dram_total."""


def parts_of(device: SimDevice, home: str) -> Parts:
    """All that the bound driver of ``device`` adds; ``home`` is the device's directory in /sys."""
    if device.driver is None:
        return Parts()
    if device.driver == "rebellions":
        return _rebellions(device, home)
    if device.driver.endswith(("vfio-pci", "vfio_pci")):  # the vendors' variants, too
        return _vfio(device)
    return joined(
        _uio(device, home),
        interfaces(device.net, f"{home}/{device.net_below}" if device.net_below else home),
        *([rdma(device.rdma, home)] if device.rdma is not None else []),
        *(subfunction(sf, home) for sf in device.sfs),
        *([vdpa(device.vdpa, home)] if device.vdpa is not None else []),
    )


def pools_text(rbln: str) -> str:
    """The kernel's list of a device's DMA pools: one is named after the driver's node."""
    return f"poolinfo - 0.1\n{rbln}               0    4 1024  1\n"


def _rebellions(device: SimDevice, home: str) -> Parts:
    if device.rbln is None:
        return Parts()
    own = f"{home}/rebellions/{device.rbln}"
    return Parts(
        files={
            f"{home}/pools": pools_text(device.rbln),
            f"{own}/status": f"{STATUS_READY}\n",
            f"{own}/card_name": f"{device.card_name}\n",
            f"{own}/kernel_version": f"{KMD}\n",
            f"{own}/dram_total": f"{DRAM_BYTES}\n",
        },
        links={f"/sys/class/rebellions/{device.rbln}": own, f"{own}/device": home},
        nodes=frozenset({device.rbln, "rsd0"}),
    )


def _vfio(device: SimDevice) -> Parts:
    if device.iommu is None:
        return Parts(nodes=frozenset({"vfio/vfio"}))
    group = f"noiommu-{device.iommu}" if device.noiommu else f"{device.iommu}"
    return Parts(nodes=frozenset({"vfio/vfio", f"vfio/{group}"}))


def _uio(device: SimDevice, home: str) -> Parts:
    if device.uio is None:
        return Parts()
    own = f"{home}/uio/{device.uio}"
    return Parts(
        files={f"{own}/name": f"{device.driver}\n"},
        links={f"/sys/class/uio/{device.uio}": own, f"{own}/device": home},
        nodes=frozenset({device.uio}),
    )

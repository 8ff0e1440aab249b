"""The VM's PCI functions: what the kernel says of them in other ways, and how to change them."""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

DEVICES: Final = Path("/sys/bus/pci/devices")
DRIVERS: Final = Path("/sys/bus/pci/drivers")

VIRTIO_VENDOR: Final = "1af4"
VIRTIO_DISK: Final = "1042"
VIRTIO_DISK_OLD: Final = "1001"
"""The same with the interface before virtio 1.0 beside the present one: on conventional PCI."""
QEMU_VENDOR: Final = "1b36"
NVME: Final = (QEMU_VENDOR, "0010")

_AGAIN_S: Final = 0.01
_CHANGE_DEADLINE_S: Final = 10.0

# include/uapi/linux/vfio.h: ioctls of type ';' (0x3b), base 100, without a size
_VFIO_GROUP_GET_STATUS: Final = 0x3B67
_VFIO_GROUP_SET_CONTAINER: Final = 0x3B68
_VFIO_GROUP_GET_DEVICE_FD: Final = 0x3B6A
_VFIO_SET_IOMMU: Final = 0x3B66
_VFIO_TYPE1_IOMMU: Final = 1
_VFIO_GROUP_FLAGS_VIABLE: Final = 1
_VFIO_DEVICE_BIND_IOMMUFD: Final = 0x3B76


class Listed(NamedTuple):
    """A function as /proc/bus/pci/devices lists it (drivers/pci/proc.c)."""

    vendor: str
    product: str
    driver: str | None


def listed() -> dict[str, Listed]:
    """All functions by address; the table knows no domain but ours."""
    found = {}
    for line in Path("/proc/bus/pci/devices").read_text().splitlines():
        fields = line.split("\t")
        bus, function = bytes.fromhex(fields[0])
        address = f"0000:{bus:02x}:{function >> 3:02x}.{function & 7}"
        found[address] = Listed(fields[1][:4], fields[1][4:], fields[-1].strip() or None)
    return found


def header_class(address: str) -> str:
    """The class code out of the device's own registers, six digits."""
    with (DEVICES / address / "config").open("rb") as file:
        return file.read(64)[9:12][::-1].hex()


def cpus(address: str) -> str:
    """The processors near to a function."""
    return attribute(address, "local_cpulist")


def attribute(address: str, name: str) -> str:
    """A file of a function's."""
    return (DEVICES / address / name).read_text().strip()


def write(address: str, name: str, value: str) -> None:
    """Write to a file of a function's, as an administrator would with echo."""
    (DEVICES / address / name).write_text(value)


def driver(address: str) -> str | None:
    """The bound driver."""
    try:
        return (DEVICES / address / "driver").readlink().name
    except FileNotFoundError:
        return None


def is_vf(address: str) -> bool:
    """It is a virtual function."""
    return (DEVICES / address / "physfn").is_symlink()


def group(address: str) -> str:
    """The number of the IOMMU group."""
    return (DEVICES / address / "iommu_group").readlink().name


def bind(address: str, name: str) -> None:
    """Bind a driver, whatever it says that it is for; a bound one is unbound first."""
    unbind(address)
    write(address, "driver_override", name)
    (DRIVERS / name / "bind").write_text(address)
    assert driver(address) == name


def unbind(address: str) -> None:
    """Leave a function without a driver."""
    bound = driver(address)
    if bound is not None:
        (DRIVERS / bound / "unbind").write_text(address)


def rebind(address: str, name: str) -> None:
    """Give a function back to the driver that it is for."""
    unbind(address)
    write(address, "driver_override", "\n")
    (DRIVERS / name / "bind").write_text(address)


def vfs(pf: str) -> tuple[str, ...]:
    """A PF's virtual functions, by number."""
    links = sorted((DEVICES / pf).glob("virtfn*"), key=lambda link: int(link.name[6:]))
    return tuple(link.readlink().name for link in links)


def set_vfs(pf: str, count: int, *, drivers: bool = False) -> None:
    """Have so many virtual functions; ``drivers``: they are bound as they come."""
    write(pf, "sriov_drivers_autoprobe", str(int(drivers)))
    write(pf, "sriov_numvfs", "0")
    if count:
        write(pf, "sriov_numvfs", str(count))


def appeared(before: set[str]) -> str:
    """The function that came after ``before``, once a driver has it."""
    until(lambda: addresses() - before, what="a new function")
    (new,) = addresses() - before
    until(lambda: driver(new), what=f"a driver of {new}")
    return new


def addresses() -> set[str]:
    """All functions."""
    return {path.name for path in DEVICES.iterdir()}


def of_product(vendor: str, product: str) -> tuple[str, ...]:
    """Return the functions of a vendor's product, by address."""
    wanted = (f"0x{vendor}", f"0x{product}")
    return tuple(
        address
        for address in sorted(addresses())
        if (attribute(address, "vendor"), attribute(address, "device")) == wanted
    )


def until(
    condition: Callable[[], object], *, what: str, deadline_s: float = _CHANGE_DEADLINE_S
) -> float:
    """Wait for what has no event; the seconds that it took."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < deadline_s, f"not within {deadline_s} s: {what}"
        sleep(_AGAIN_S)
    return monotonic() - began


def viable(number: str) -> bool:
    """Whether user space could have the group: all of its devices are vfio's, or nobody's."""
    node = os.open(f"/dev/vfio/{number}", os.O_RDWR)
    try:
        status = bytearray((8).to_bytes(4, "little") + bytes(4))  # argsz, flags
        fcntl.ioctl(node, _VFIO_GROUP_GET_STATUS, status)
        return bool(int.from_bytes(status[4:], "little") & _VFIO_GROUP_FLAGS_VIABLE)
    finally:
        os.close(node)


@contextmanager
def in_use(address: str) -> Iterator[None]:
    """Hold a vfio device as a virtual machine or DPDK does (Documentation/driver-api/vfio.rst)."""
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    node = os.open(f"/dev/vfio/{group(address)}", os.O_RDWR)
    try:
        fcntl.ioctl(node, _VFIO_GROUP_SET_CONTAINER, container.to_bytes(4, "little"))
        fcntl.ioctl(container, _VFIO_SET_IOMMU, _VFIO_TYPE1_IOMMU)
        device = fcntl.ioctl(node, _VFIO_GROUP_GET_DEVICE_FD, bytearray(address.encode() + b"\0"))
        try:
            yield
        finally:
            os.close(device)
    finally:
        os.close(node)
        os.close(container)


def character_device(address: str) -> Path | None:
    """Return the node of a vfio device by which iommufd takes it; None where it has none."""
    names = sorted(path.name for path in (DEVICES / address / "vfio-dev").glob("vfio*"))
    nodes = (Path("/dev/vfio/devices", name) for name in names)
    return next((node for node in nodes if node.exists()), None)


def bind_iommufd(node: str, iommu: str) -> None:
    """Take a vfio device as a VMM with iommufd does; OSError (struct vfio_device_bind_iommufd)."""
    device = os.open(node, os.O_RDWR)
    owner = os.open(iommu, os.O_RDWR)
    try:
        request = bytearray(struct.pack("=IIiI", 16, 0, owner, 0))
        fcntl.ioctl(device, _VFIO_DEVICE_BIND_IOMMUFD, request)
    finally:
        os.close(device)
        os.close(owner)

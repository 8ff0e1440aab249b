"""A device of the node, as one value."""

from typing import Final, NewType

import msgspec

DeviceId = NewType("DeviceId", str)
"""What the kubelet knows a device by: the PCI address as sysfs spells it."""

Bdf = NewType("Bdf", str)
"""A PCI address, ``domain:bus:device.function``, as the entry's name below /sys/bus/pci/devices."""

REBELLIONS: Final = "1eff"
"""The PCI vendor id of Rebellions."""


class PciFunction(msgspec.Struct, frozen=True):
    """A PCI function as the PCI core describes it (Documentation/ABI/testing/sysfs-bus-pci).

    Hexadecimal fields are lower case without ``0x``. Nothing here comes from a device's driver:
    such files can wait on hardware, and this value is read where nothing may wait.
    """

    bdf: Bdf
    vendor: str
    """Four hexadecimal digits."""
    product: str
    """The device id: four hexadecimal digits."""
    base_class: int
    """The upper byte of the class code: 0x12 is a processing accelerator."""
    driver: str | None
    """The bound driver's name; None where no driver is bound."""
    numa_node: int | None
    """None where the kernel says -1 or nothing."""
    acpi_index: str = ""
    """The firmware's index of the slot (_DSM), empty where it gives none."""
    has_vfs: bool = False
    """A physical function whose virtual functions are enabled."""


class Device(msgspec.Struct, frozen=True):
    """A device that a pool owns."""

    id: DeviceId
    function: PciFunction
    gone: str | None = None
    """Why the device can't be used although it is still listed (unplugged, driver unbound, …).

    None while it is there. Such a device is Unhealthy and leaves after a grace time.
    """

"""What a simulated PCI function is, in the words of the conformance format."""

from typing import Final

import msgspec

PRODUCTS: Final = {
    "1020": "RBLN-CA02",
    "1120": "RBLN-CA12",
    "1150": "RBLN-CA15",
    "1220": "RBLN-CA22",
    "1250": "RBLN-CA25",
    "2030": "RBLN-CR03",
}
"""Product names by the PCI device id of the physical function; a virtual one's id is one more."""


class Rdma(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An RDMA device ``name`` with its nodes uverbs*n*, umad*n* and issm*n*."""

    name: str
    n: int
    link_layer: str = "Ethernet"
    """Of its port: ``InfiniBand`` or ``Ethernet``, which is RoCE."""


class Subfunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An auxiliary device below a physical function, such as ``mlx5_core.sf.2``."""

    name: str
    sfnum: int
    net: tuple[str, ...] = ()
    rdma: Rdma | None = None


class Vdpa(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vDPA device, and the driver of the vdpa bus that is bound to it (vhost_vdpa, …)."""

    name: str
    driver: str | None = "vhost_vdpa"
    n: int = 0
    """vhost_vdpa's node is vhost-vdpa-*n*."""


class SimDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"code": "class"}):
    """A PCI function as the conformance format describes one (tests/conformance/README.md)."""

    bdf: str
    vendor: str = "1eff"
    device: str = "1120"
    code: str = "120000"
    """The class code, six hexadecimal digits; ``class`` in the format."""
    driver: str | None = "rebellions"
    """None: unbound."""
    numa: int = 0
    """-1 is what the kernel says where it knows no node."""
    parents: tuple[str, ...] = ()
    """The bridges above it, from the root port down."""
    iommu: int | None = None
    """The IOMMU group's number."""
    noiommu: bool = False
    rbln: str | None = None
    """The node's name below /dev that the rebellions driver gives it."""
    pf: str | None = None
    """The physical function of which this is a virtual one."""
    totalvfs: int | None = None
    """How many virtual functions it can have; None where it has no SR-IOV capability."""
    net: tuple[str, ...] = ()
    net_below: str = ""
    """The child below which its interfaces lie, such as virtio_net's ``virtio0``."""
    acpi_index: int | None = None
    uio: str | None = None
    rdma: Rdma | None = None
    sfs: tuple[Subfunction, ...] = ()
    vdpa: Vdpa | None = None

    @property
    def modalias(self) -> str:
        """The line by which the kernel looks for a driver: 53 characters."""
        base, sub, interface = self.code[:2], self.code[2:4], self.code[4:]
        return (
            f"pci:v0000{self.vendor.upper()}d0000{self.device.upper()}sv00000000sd00000000"
            f"bc{base.upper()}sc{sub.upper()}i{interface.upper()}"
        )

    @property
    def card_name(self) -> str:
        """The product as the rebellions driver names it."""
        return PRODUCTS.get(f"{int(self.device, 16) & ~1:04x}", "RBLN-UNKNOWN")

    def config_space(self) -> bytes:
        """The 64 bytes of a type 0 header (PCI Local Bus Specification 3.0, 6.1).

        A virtual function has all ones for its vendor and device (SR-IOV 1.1, 3.4.1.1).
        """
        header = bytearray(64)
        vendor, device = (self.vendor, self.device) if self.pf is None else ("ffff", "ffff")
        header[0:2] = int(vendor, 16).to_bytes(2, "little")
        header[2:4] = int(device, 16).to_bytes(2, "little")
        header[4:6] = (0x0006).to_bytes(2, "little")  # memory space on, bus master
        header[9:12] = int(self.code, 16).to_bytes(3, "little")
        return bytes(header)


def shift(bdf: str, by: int) -> str:
    """The PCI address so many functions further, across devices and buses, as VFs are."""
    domain, bus, rest = bdf.split(":")
    slot, function = rest.split(".")
    routing = (int(bus, 16) << 8 | int(slot, 16) << 3 | int(function, 16)) + by
    return f"{domain}:{routing >> 8:02x}:{routing >> 3 & 0x1F:02x}.{routing & 7}"

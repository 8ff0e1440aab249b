"""A device of the node, as one value."""

from typing import Final, Literal, NewType

import msgspec

DeviceId = NewType("DeviceId", str)
"""What the kubelet knows a device by: a PCI address, or an auxiliary device's name."""

Bdf = NewType("Bdf", str)
"""A PCI address, ``domain:bus:device.function``, as the entry's name below /sys/bus/pci/devices."""

AuxName = NewType("AuxName", str)
"""An auxiliary device's name, as the entry's below /sys/bus/auxiliary/devices: mlx5_core.sf.4."""

REBELLIONS: Final = "1eff"
"""The PCI vendor id of Rebellions."""


class Vdpa(msgspec.Struct, frozen=True):
    """A vDPA device of a function (Documentation/ABI/testing/sysfs-bus-vdpa)."""

    name: str
    kind: Literal["vhost", "virtio", ""]
    """By the bus driver that is bound to it: vhost_vdpa, virtio_vdpa, or another or none."""


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """What makes a function or a sub-function a network device."""

    interfaces: tuple[str, ...] = ()
    """Of this network namespace, sorted; they may lie below a child of it (``virtio0``)."""
    link_type: str = ""
    """As iproute2 says it (``ether``, ``infiniband``); the PF's where there is no interface."""
    pkey: str = ""
    """The partition key at index 0 of an InfiniBand port, such as 0x8001."""
    rdma: tuple[str, ...] = ()
    """Names of its RDMA devices, sorted."""
    rdma_capable: bool = False
    """It has RDMA devices, or devlink says that it may (they can lie in another namespace)."""
    vdpa: Vdpa | None = None
    ddp_profile: str = ""
    """The DDP package that is loaded; read only where a selector asks for it."""
    default_route: bool = False
    """The node's default route leaves through it, or through something above it."""
    representors: tuple[str, ...] = ()
    """Those of its interfaces that stand for other functions of its eswitch."""
    switch_id: str = ""
    """Of its eswitch (phys_switch_id), where that is in switchdev mode."""
    ib_ports: tuple[str, ...] = ()
    """Its RDMA devices' ports whose link layer is InfiniBand (``mlx5_0/1``), or its PF's."""
    ib_only: bool = False
    """No port of these devices is Ethernet: its interfaces are IP over InfiniBand."""

    @property
    def own_interfaces(self) -> tuple[str, ...]:
        """Its interfaces without the representors of other functions."""
        if not self.representors:
            return self.interfaces
        return tuple(name for name in self.interfaces if name not in self.representors)


class PciFunction(msgspec.Struct, frozen=True, omit_defaults=True):
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
    sriov: bool = False
    """It has the file sriov_totalvfs."""
    pf: Bdf | None = None
    """The physical function of a virtual one."""
    pf_names: tuple[str, ...] = ()
    """The physical function's interfaces (its uplink in switchdev mode), sorted."""
    vf_link_state: Literal["", "auto", "enable", "disable"] = ""
    """A virtual function's link state as its PF sets it (IFLA_VF_LINK_STATE); empty: not known."""
    index: int | None = None
    """A virtual function's number at its physical function."""
    bridges: tuple[Bdf, ...] = ()
    """The PCI-to-PCI bridges above it, from the root port down."""
    network: Network | None = None
    iommu_group: str = ""
    """The number of its IOMMU group, of functions on vfio; empty where there is none."""


class Subfunction(msgspec.Struct, frozen=True):
    """A scalable function: an auxiliary device below a PCI function."""

    name: AuxName
    kind: str
    """The middle part of its name: ``sf``."""
    number: int
    """``sfnum``."""
    pf: Bdf
    pf_names: tuple[str, ...]
    network: Network


class Grants(msgspec.Struct, frozen=True):
    """What the selector object that took a device gives to its containers."""

    rdma: bool = False
    vhost_net: bool = False
    vdpa: Literal["vhost", "virtio", ""] = ""


class LinkState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link of the supervisor's network namespace, as rtnetlink tells it (rtnetlink(7))."""

    name: str
    """Of its interface."""
    up: bool
    """By its operational state; one that the kernel calls unknown counts as up."""
    admin_up: bool = True
    """Somebody has set it up (IFF_UP): one that is down and not set up has lost no carrier."""
    infiniband: bool = False
    """It is IP over InfiniBand (ARPHRD_INFINIBAND)."""
    kind: str = ""
    """Of a link without hardware: ``bond``, ``openvswitch`` (IFLA_INFO_KIND)."""
    master: int | None = None
    """The index of the link that it is enslaved to."""
    altnames: tuple[str, ...] = ()
    """Alternative names (``ip link property``)."""


CarrierRole = Literal["own", "pf", "lag"]
"""``own``: the device's interface; ``pf``: its PF's; ``lag``: the bond of its PF's eswitch."""


class Carrier(msgspec.Struct, frozen=True):
    """A link by which a device's traffic leaves, and its state."""

    name: str
    role: CarrierRole
    up: bool
    admin_up: bool = True


class Device(msgspec.Struct, frozen=True):
    """A device that a pool owns."""

    id: DeviceId
    function: PciFunction
    """Of an auxiliary device: its parent."""
    subfunction: Subfunction | None = None
    grants: Grants = Grants()
    carriers: tuple[Carrier, ...] = ()
    """The links that its traffic may pass: its PF's, or its own where no PF's is known.

    Empty where rtnetlink knows none: it has none, or they lie in a container's namespace.
    """
    gone: str | None = None
    """Why the device can't be used although it is still listed (unplugged, driver unbound, …).

    None while it is there. Such a device is Unhealthy and leaves after a grace time.
    """

    @property
    def network(self) -> Network | None:
        """Its own network facts."""
        return self.subfunction.network if self.subfunction else self.function.network

    @property
    def pf(self) -> Bdf | None:
        """The physical function above it."""
        return self.subfunction.pf if self.subfunction else self.function.pf

    @property
    def pf_names(self) -> tuple[str, ...]:
        """That function's interfaces."""
        return self.subfunction.pf_names if self.subfunction else self.function.pf_names

    @property
    def index(self) -> int | None:
        """Its number at that function: VF index or SF number."""
        return self.subfunction.number if self.subfunction else self.function.index

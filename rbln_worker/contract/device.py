"""A device of the node, as a value."""

from typing import Final, Literal, NewType

import msgspec

DeviceId = NewType("DeviceId", str)
"""The device's ID for the kubelet: a PCI address, or the name of an auxiliary device."""

Bdf = NewType("Bdf", str)
"""A PCI address, ``domain:bus:device.function``, as an entry of /sys/bus/pci/devices is named."""

AuxName = NewType("AuxName", str)
"""The name of an auxiliary device, as in /sys/bus/auxiliary/devices: mlx5_core.sf.4."""

REBELLIONS: Final = "1eff"
"""The PCI vendor id of Rebellions."""


class Vdpa(msgspec.Struct, frozen=True):
    """A vDPA device of a function (Documentation/ABI/testing/sysfs-bus-vdpa)."""

    name: str
    kind: Literal["vhost", "virtio", ""]
    """The bus driver that is bound: vhost_vdpa, virtio_vdpa, or (empty) another one or none."""


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """The network facts of a function or a sub-function."""

    interfaces: tuple[str, ...] = ()
    """Interfaces in this network namespace, sorted; also those of a child (``virtio0``)."""
    link_type: str = ""
    """The link type in iproute2's terms (``ether``, ``infiniband``); the PF's if it has no
    interface."""
    pkey: str = ""
    """The partition key at index 0 of an InfiniBand port, such as 0x8001."""
    rdma: tuple[str, ...] = ()
    """Names of its RDMA devices, sorted."""
    rdma_capable: bool = False
    """True if it has RDMA devices, or devlink reports that it may have some elsewhere."""
    vdpa: Vdpa | None = None
    ddp_profile: str = ""
    """The loaded DDP package; read only if a selector asks for it."""
    default_route: bool = False
    """True if the node's default route uses its interface, or an interface above it."""
    representors: tuple[str, ...] = ()
    """Its interfaces that are representors of other functions of its eswitch."""
    switch_id: str = ""
    """The switch ID of its eswitch (phys_switch_id), if that is in switchdev mode."""
    ib_ports: tuple[str, ...] = ()
    """Ports of its RDMA devices with link layer InfiniBand (``mlx5_0/1``), or its PF's."""
    ib_only: bool = False
    """True if none of these ports is Ethernet: its interfaces are IP over InfiniBand."""

    @property
    def own_interfaces(self) -> tuple[str, ...]:
        """The interfaces without the representors of other functions."""
        if not self.representors:
            return self.interfaces
        return tuple(name for name in self.interfaces if name not in self.representors)


class PciFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A PCI function as the PCI core describes it (Documentation/ABI/testing/sysfs-bus-pci).

    Hexadecimal fields are lower case without ``0x``. No field comes from a file of the device's
    driver: such files can wait on hardware, and discovery must not wait.
    """

    bdf: Bdf
    vendor: str
    """The vendor ID: four hexadecimal digits."""
    product: str
    """The device ID: four hexadecimal digits."""
    base_class: int
    """The upper byte of the class code: 0x12 is a processing accelerator."""
    driver: str | None
    """The name of the bound driver; None if no driver is bound."""
    numa_node: int | None
    """The NUMA node; None if the kernel reports -1 or nothing."""
    acpi_index: str = ""
    """The firmware's index of the slot (_DSM); empty if there is none."""
    has_vfs: bool = False
    """True for a physical function with enabled virtual functions."""
    sriov: bool = False
    """True if it has the file sriov_totalvfs."""
    pf: Bdf | None = None
    """The physical function of a virtual one."""
    pf_names: tuple[str, ...] = ()
    """The physical function's interfaces (its uplink in switchdev mode), sorted."""
    vf_link_state: Literal["", "auto", "enable", "disable"] = ""
    """A virtual function's link state, set by its PF (IFLA_VF_LINK_STATE); empty: not known."""
    index: int | None = None
    """The number of a virtual function at its physical function."""
    bridges: tuple[Bdf, ...] = ()
    """The PCI-to-PCI bridges above it, from the root port down."""
    network: Network | None = None
    iommu_group: str = ""
    """The number of its IOMMU group, for a function on vfio; empty if there is none."""


class Subfunction(msgspec.Struct, frozen=True):
    """A scalable function: an auxiliary device below a PCI function."""

    name: AuxName
    kind: str
    """The middle part of the name: ``sf``."""
    number: int
    """The number of the sub-function (``sfnum``)."""
    pf: Bdf
    pf_names: tuple[str, ...]
    network: Network


class Grants(msgspec.Struct, frozen=True):
    """Features that the selector object which matched a device grants to its containers."""

    rdma: bool = False
    vhost_net: bool = False
    vdpa: Literal["vhost", "virtio", ""] = ""


class LinkState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link of the supervisor's network namespace, as rtnetlink reports it (rtnetlink(7))."""

    name: str
    """The name of its interface."""
    up: bool
    """True if its operational state is up; the state "unknown" counts as up."""
    admin_up: bool = True
    """True if it is set up (IFF_UP): a link that is down and not set up has lost no carrier."""
    infiniband: bool = False
    """True if it is IP over InfiniBand (ARPHRD_INFINIBAND)."""
    kind: str = ""
    """The kind of a link without hardware: ``bond``, ``openvswitch`` (IFLA_INFO_KIND)."""
    master: int | None = None
    """The index of the link that it is enslaved to."""
    altnames: tuple[str, ...] = ()
    """Alternative names (``ip link property``)."""


CarrierRole = Literal["own", "pf", "lag"]
"""``own``: the device's interface; ``pf``: its PF's; ``lag``: the bond of its PF's eswitch."""


class Carrier(msgspec.Struct, frozen=True):
    """A link that carries a device's traffic, and its state."""

    name: str
    role: CarrierRole
    up: bool
    admin_up: bool = True


class Device(msgspec.Struct, frozen=True):
    """A device that a pool owns."""

    id: DeviceId
    function: PciFunction
    """The PCI function; for an auxiliary device: its parent."""
    subfunction: Subfunction | None = None
    grants: Grants = Grants()
    carriers: tuple[Carrier, ...] = ()
    """The links that its traffic may pass: its PF's, or its own if no link of a PF is known.

    Empty if rtnetlink knows none: the device has none, or they are in a container's namespace.
    """
    gone: str | None = None
    """The reason why the device is listed but can't be used (unplugged, driver unbound, …).

    None while it is present. Such a device is Unhealthy, and is removed after a grace period.
    """
    held: str = ""
    """The pod that holds it by another export than its pool's; no other pod may get it then."""

    @property
    def network(self) -> Network | None:
        """The network facts of the device itself."""
        return self.subfunction.network if self.subfunction else self.function.network

    @property
    def pf(self) -> Bdf | None:
        """The physical function above the device."""
        return self.subfunction.pf if self.subfunction else self.function.pf

    @property
    def pf_names(self) -> tuple[str, ...]:
        """The interfaces of the physical function."""
        return self.subfunction.pf_names if self.subfunction else self.function.pf_names

    @property
    def index(self) -> int | None:
        """The number at the physical function: VF index or SF number."""
        return self.subfunction.number if self.subfunction else self.function.index

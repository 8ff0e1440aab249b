"""Nodes that tests and the demo want again and again."""

import msgspec

from tests.sim.device import SimDevice
from tests.sim.node import SimNode


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An interface in the network namespace."""

    default_route: bool = False
    pair: bool = False
    """One end of a veth pair, which loses its carrier when the other (network.peer) is set down."""


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node as the conformance format describes one."""

    devices: tuple[SimDevice, ...]
    links: dict[str, Link] = {}
    """Not in the tree: whoever starts the system makes them in its network namespace."""
    dev: tuple[str, ...] = ()
    """Further nodes below /dev."""

    def build(self, node: SimNode) -> None:
        """Make this node."""
        node.add(*self.devices)
        for name in self.dev:
            node.add_dev_node(name)


def npus(count: int, *, numa_nodes: int = 1, product: str = "1120") -> tuple[SimDevice, ...]:
    """NPUs at 0000:20:00.0, 0000:21:00.0, … named rbln0, rbln1, …; first half, first NUMA node."""
    return tuple(
        SimDevice(
            bdf=f"{n >> 6:04x}:{0x20 + (n & 0x3F):02x}:00.0",
            device=product,
            numa=n * numa_nodes // count,
            iommu=50 + n if n < 30 else 70 + n,  # 80 to 99 are those of for_machines
            rbln=f"rbln{n}",
        )
        for n in range(count)
    )


def demo(node: SimNode) -> None:
    """Four ATOM NPUs on two NUMA nodes, and two ATOM+ that virtual machines may have."""
    node.add(*npus(4, numa_nodes=2), *for_machines())


def paired(node: SimNode) -> None:
    """The same with ATOM+ NPUs, each two below a bridge: products whose place is preferred."""
    for npu in npus(4, numa_nodes=2, product="1220"):
        above = (f"0000:1{npu.numa}:00.0", f"0000:1{npu.numa + 2}:00.0")
        node.add(msgspec.structs.replace(npu, parents=above))
    node.add(*for_machines())


def for_machines() -> tuple[SimDevice, ...]:
    """Two ATOM+ on vfio-pci, one on each NUMA node."""
    return tuple(
        SimDevice(
            bdf=f"0000:{0x60 + n:02x}:00.0",
            device="1220",
            driver="vfio-pci",
            numa=n,
            iommu=80 + n,
        )
        for n in range(2)
    )

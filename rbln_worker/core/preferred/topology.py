"""Topology of a pool's devices: NUMA nodes, bridges, physical functions.

A device's *bridge* is the one that the devices of its card share. The reference counts it from the
root port, at a depth for each product. That depth is kept where it applies: there is such a bridge,
it is not merely the port of one NPU, and it has no more NPUs below it than one group has. Elsewhere
(a switch more or less above the card, a virtual machine, another product) it is the deepest bridge
above more than one of the pool's physical functions. If there is none, a physical function with its
virtual functions is a group of its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.pool import PoolSpec, Preferring


class Card(msgspec.Struct, frozen=True):
    """The topology of a product in a server, as the reference defines it."""

    depth: int
    """The position, counted from the root port, of the bridge that a group of devices shares."""
    max_group: int
    """Maximum number of NPUs below that bridge; more are several groups."""
    max_per_node: int
    """Maximum number of devices of a NUMA node; a request for more may cross NUMA nodes."""


_CA25: Final = Card(depth=2, max_group=4, max_per_node=16)  # four NPUs on a card
_CA22: Final = Card(depth=1, max_group=8, max_per_node=8)  # one NPU on a card; the server's bridge
CARDS: Final[Mapping[str, Card]] = {"1250": _CA25, "1251": _CA25, "1220": _CA22, "1221": _CA22}
"""Cards by PCI device ID, of physical and virtual functions."""


class DeviceTopology(msgspec.Struct, frozen=True):
    """The position of a device."""

    numa: int
    """The NUMA node; -1 if the kernel knows none: such devices count as being on one node."""
    bridge: Bdf
    """The bridge; the physical function itself if it shares no bridge."""
    pf: Bdf
    """The physical function of the device, which may be the device itself."""
    max_per_node: int | None = None
    """Card.numa_most; None if it is not known."""

    @property
    def group_key(self) -> tuple[int, Bdf]:
        """The key that neighbours share: NUMA node and bridge."""
        return self.numa, self.bridge


class PoolTopology(msgspec.Struct, frozen=True):
    """Positions of a pool's devices; None for a device without a known position."""

    places: Mapping[DeviceId, DeviceTopology | None] = {}
    may_cross: bool = False
    policy: Preferring = ""
    groups: Mapping[DeviceId, str] = {}
    """IOMMU groups that several devices of the pool share, by device."""


def pool_topology(pool: PoolSpec, devices: Iterable[Device]) -> PoolTopology:
    """Return the layout of a pool; without a policy, only of products that the reference knows."""
    policy = pool.preferred_allocation
    if policy == "none":
        return PoolTopology(policy=policy)
    devices = tuple(devices)
    chains = {_pf_address(device): device.function.bridges for device in devices}
    below = Counter(bridge for chain in chains.values() for bridge in chain)
    places: dict[DeviceId, DeviceTopology | None] = {}
    for device in devices:
        card = CARDS.get(device.function.product)
        known = card is not None or policy != ""
        places[device.id] = _device_topology(device, card, below) if known else None
    return PoolTopology(places, pool.allow_cross_numa, policy, _shared_groups(devices))


def _shared_groups(devices: Iterable[Device]) -> dict[DeviceId, str]:
    groups = {one.id: one.function.iommu_group for one in devices if one.function.iommu_group}
    sizes = Counter(groups.values())
    return {device: group for device, group in groups.items() if sizes[group] > 1}


def _device_topology(device: Device, card: Card | None, below: Mapping[Bdf, int]) -> DeviceTopology:
    pf, numa = _pf_address(device), device.function.numa_node
    return DeviceTopology(
        numa=-1 if numa is None else numa,
        bridge=_shared_bridge(device.function.bridges, card, below) or pf,
        pf=pf,
        max_per_node=card.max_per_node if card else None,
    )


def _pf_address(device: Device) -> Bdf:
    return device.pf or device.function.bdf


def _shared_bridge(chain: Sequence[Bdf], card: Card | None, below: Mapping[Bdf, int]) -> Bdf | None:
    shared = next((n for n in reversed(range(len(chain))) if below[chain[n]] > 1), None)
    if card is not None and card.depth + 1 < len(chain):
        by_depth = card.depth
        fits = below[chain[by_depth]] <= card.max_group
        if fits or shared is None or shared < by_depth:
            return chain[by_depth]
    return None if shared is None else chain[shared]

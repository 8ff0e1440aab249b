"""Devices as values, for tests of what is decided about them."""

from collections.abc import Iterable

from rbln_supervisor.core.config.node_config import InvalidPool, NodeConfig
from rbln_supervisor.core.config.pf_ranges import parse
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_worker.contract.device import AuxName, Bdf, Network, PciFunction, Subfunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType, PoolSpec

P0 = Bdf("0000:3b:00.0")
ETHER = Network(interfaces=("e0",), link_type="ether")


def npu(
    bdf: str = "0000:23:00.0", driver: str | None = "rebellions", *, product: str = "1120"
) -> PciFunction:
    """An ATOM NPU."""
    return PciFunction(Bdf(bdf), "1eff", product, 0x12, driver, 0)


def pf(bdf: str = P0, *, vfs: bool = True) -> PciFunction:
    """A NIC's physical function, called p0."""
    network = Network(interfaces=("p0",), link_type="ether")
    return PciFunction(
        Bdf(bdf), "8086", "1592", 0x02, "ice", 0, has_vfs=vfs, sriov=True, network=network
    )


def vf(index: int, *, driver: str | None = "iavf", network: Network = ETHER) -> PciFunction:
    """A virtual function of p0."""
    bdf = Bdf(f"0000:3b:{2 + index // 8:02x}.{index % 8}")
    return PciFunction(
        *(bdf, "8086", "1889", 0x02, driver, 0),
        pf=P0,
        pf_names=("p0",),
        index=index,
        network=network,
    )


def sf(number: int, *, network: Network = ETHER) -> Subfunction:
    """A sub-function of p0."""
    return Subfunction(AuxName(f"mlx5_core.sf.{number}"), "sf", 80 + number, P0, ("p0",), network)


def node(*functions: PciFunction, subfunctions: Iterable[Subfunction] = ()) -> NodeInventory:
    """A node of these; sub-functions are p0's."""
    below = tuple(subfunctions)
    return NodeInventory({one.bdf: one for one in functions}, {P0: below} if below else {})


def pool(name: str, device_type: DeviceType, *selectors: SelectorObject) -> PoolConfig:
    """A pool; its selectors are one that matches everything where none is given."""
    return PoolConfig(PoolSpec("x.io", name, device_type), selectors or (SelectorObject(),))


def config(*pools: PoolConfig, invalid: Iterable[InvalidPool] = ()) -> NodeConfig:
    """A configuration."""
    return NodeConfig(pools, tuple(invalid))


def below(*entries: str, **rest: object) -> SelectorObject:
    """A selector object with pfNames."""
    return SelectorObject(pf_names=tuple(map(parse, entries)), **rest)  # type: ignore[arg-type]

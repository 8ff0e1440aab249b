"""The node that is broken: eight pools of all types, and each of them when nothing is broken.

Two of the pools are exported by DRA.

What a pool should list is written down here, not computed: a wrong assignment would be seen.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.sim.device import Rdma, SimDevice, Subfunction
from tests.sim.node import SimNode
from tests.sim.nodes import Link

ATOM: Final = "rebellions.ai/ATOM"
CARD: Final = "rebellions.ai/CA25"
VM: Final = "rebellions.ai/VM"
NIC: Final = "intel.com/nic"
DPDK: Final = "intel.com/dpdk"
SF: Final = "nvidia.com/sf"

KERNEL_PF: Final = "0000:3b:00.0"
DPDK_PF: Final = "0000:d8:00.0"
SF_PF: Final = "0000:03:00.0"

ATOMS: Final = tuple(f"0000:{bus}:00.0" for bus in (20, 21, 22, 23))
CARDS: Final = tuple(f"0000:{bus}:00.0" for bus in (30, 31, 32, 33))
VMS: Final = tuple(f"0000:{bus}:00.0" for bus in (60, 61, 62))
NICS: Final = tuple(f"0000:3b:02.{n}" for n in range(4))
DPDKS: Final = tuple(f"0000:d8:0a.{n}" for n in range(4))
SFS: Final = tuple(f"mlx5_core.sf.{n}" for n in (2, 3, 4))


HEALTH: Final = {
    "unknownHoldSeconds": 2,
    "probation": {
        "firstSeconds": 0.05,
        "repeatSeconds": 0.1,
        "maxSeconds": 1,
        "resetAfterSeconds": 5,
    },
}
"""Devices fall again and again here: nobody waits minutes until one is believed."""


class Rest(NamedTuple):
    """A pool when nothing is broken."""

    config: Mapping[str, Any]
    devices: tuple[str, ...]


def _pool(prefix: str, name: str, kind: str, selectors: object, **rest: object) -> dict[str, Any]:
    return {
        "resourcePrefix": prefix,
        "resourceName": name,
        "deviceType": kind,
        "selectors": selectors,
        "health": HEALTH,
        **rest,
    }


REST: Final[Mapping[str, Rest]] = {
    ATOM: Rest(
        _pool(
            *("rebellions.ai", "ATOM", "accelerator"),
            {"vendors": ["1eff"], "devices": ["1120"], "drivers": ["rebellions"]},
            allowCrossNuma=True,
        ),
        ATOMS,
    ),
    CARD: Rest(
        _pool(
            *("rebellions.ai", "CA25", "accelerator"),
            {"vendors": ["1eff"], "devices": ["1250"], "drivers": ["rebellions"]},
            allowCrossNuma=True,
        ),
        CARDS,
    ),
    VM: Rest(
        _pool(
            *("rebellions.ai", "VM", "accelerator"),
            {"vendors": ["1eff"], "drivers": ["vfio-pci"]},
        ),
        VMS,
    ),
    NIC: Rest(
        _pool(
            *("intel.com", "nic", "netDevice"),
            {"vendors": ["8086"], "devices": ["1889"], "drivers": ["iavf"]},
        ),
        NICS,
    ),
    DPDK: Rest(
        _pool(
            *("intel.com", "dpdk", "netDevice"),
            {"devices": ["1889"], "drivers": ["vfio-pci"], "needVhostNet": True},
        ),
        DPDKS,
    ),
    SF: Rest(
        _pool(
            *("nvidia.com", "sf", "auxNetDevice"),
            {"vendors": ["15b3"], "auxTypes": ["sf"], "isRdma": True},
        ),
        SFS,
    ),
}


class DraRest(NamedTuple):
    """A pool that is exported by DRA when nothing is broken."""

    config: Mapping[str, Any]
    driver: str
    devices: tuple[str, ...]
    npus: Mapping[str, str]
    """The NPUs by the names of the devices in slices."""


def _dra(name: str, driver: str, product: str, bdfs: tuple[str, ...], first: int) -> DraRest:
    config = _pool(
        *("rebellions.ai", name, "accelerator"),
        {"vendors": ["1eff"], "devices": [product], "drivers": ["rebellions"]},
        export="dra",
        dra={"driverName": driver},
    )
    npus = {dra_name(bdf): f"rbln{first + n}" for n, bdf in enumerate(bdfs)}
    return DraRest(config, driver, bdfs, npus)


def dra_name(bdf: str) -> str:
    """The name of a device in slices."""
    return bdf.replace(":", "-").replace(".", "-")


NODE: Final = "node-1"
CLAIMED: Final = "rebellions.ai/NPU"
OTHERS: Final = "rebellions.ai/CA02"
CLAIMED_NPUS: Final = tuple(f"0000:{bus}:00.0" for bus in (70, 71, 72, 73))
OTHER_NPUS: Final = tuple(f"0000:{bus}:00.0" for bus in (74, 75))
DRA: Final[Mapping[str, DraRest]] = {
    CLAIMED: _dra("NPU", "npu.rebellions.ai", "1220", CLAIMED_NPUS, 8),
    OTHERS: _dra("CA02", "ca02.rebellions.ai", "1020", OTHER_NPUS, 12),
}
"""Pools that are exported by DRA."""
NAMES: Final = (*REST, *DRA)
RSD_NPUS: Final = tuple(f"rbln{n}" for n in range(14))


def devices_of(pool: str) -> tuple[str, ...]:
    """What a pool should list."""
    return REST[pool].devices if pool in REST else DRA[pool].devices


CONFIGS: Final[Mapping[str, Mapping[str, Any]]] = {
    **{name: rest.config for name, rest in REST.items()},
    **{name: rest.config for name, rest in DRA.items()},
}
CONFIG: Final[Mapping[str, Any]] = {"resourceList": [*CONFIGS.values()]}

LINKS: Final[Mapping[str, Link]] = {
    name: Link()
    for name in (
        *("ens1f0", "ens2f0", "p0"),
        *(f"ens1f0v{n}" for n in range(4)),
        *(f"en3f0s{n}" for n in range(3)),
    )
}
"""Interfaces of the network functions, as far as a kernel driver has them."""

DEVINFO: Final = "/var/run/k8s.cni.cncf.io/devinfo/dp"


def vfs(pf: str) -> tuple[SimDevice, ...]:
    """The virtual functions of one of the two PFs that have some."""
    if pf == KERNEL_PF:
        return tuple(
            SimDevice(
                bdf=bdf,
                vendor="8086",
                device="1889",
                code="020000",
                driver="iavf",
                pf=pf,
                net=(f"ens1f0v{n}",),
                iommu=20 + n,
            )
            for n, bdf in enumerate(NICS)
        )
    return tuple(
        SimDevice(
            bdf=bdf,
            vendor="8086",
            device="1889",
            code="020000",
            driver="vfio-pci",
            numa=1,
            pf=pf,
            iommu=40 + n,
        )
        for n, bdf in enumerate(DPDKS)
    )


def build(node: SimNode) -> None:
    """Make the node."""
    node.add(
        *(
            SimDevice(bdf=bdf, device="1120", numa=n // 2, iommu=50 + n, rbln=f"rbln{n}")
            for n, bdf in enumerate(ATOMS)
        ),
        *(
            SimDevice(
                bdf=bdf,
                device="1250",
                numa=n // 2,
                iommu=60 + n,
                rbln=f"rbln{4 + n}",
                parents=(f"0000:1{n // 2}:00.0", f"0000:1{n // 2 + 2}:00.0"),
            )
            for n, bdf in enumerate(CARDS)
        ),
        *(
            SimDevice(bdf=bdf, device="1220", driver="vfio-pci", numa=n % 2, iommu=80 + n)
            for n, bdf in enumerate(VMS)
        ),
        *(
            SimDevice(bdf=bdf, device="1220", numa=n // 2, iommu=90 + n, rbln=f"rbln{8 + n}")
            for n, bdf in enumerate(CLAIMED_NPUS)
        ),
        *(
            SimDevice(bdf=bdf, device="1020", iommu=95 + n, rbln=f"rbln{12 + n}")
            for n, bdf in enumerate(OTHER_NPUS)
        ),
        _pf(KERNEL_PF, "ens1f0", 0, 10),
        *vfs(KERNEL_PF),
        _pf(DPDK_PF, "ens2f0", 1, 11),
        *vfs(DPDK_PF),
        SimDevice(
            bdf=SF_PF,
            vendor="15b3",
            device="a2d6",
            code="020000",
            driver="mlx5_core",
            net=("p0",),
            totalvfs=64,
            iommu=12,
            rdma=Rdma("mlx5_0", 0),
            sfs=tuple(
                Subfunction(name, n, (f"en3f0s{n}",), Rdma(f"mlx5_{2 + n}", 2 + n))
                for n, name in enumerate(SFS)
            ),
        ),
    )
    for name in ("vhost-net", "net/tun"):
        node.add_dev_node(name)


def _pf(bdf: str, interface: str, numa: int, iommu: int) -> SimDevice:
    return SimDevice(
        bdf=bdf,
        vendor="8086",
        device="1592",
        code="020000",
        driver="ice",
        numa=numa,
        net=(interface,),
        totalvfs=64,
        iommu=iommu,
    )

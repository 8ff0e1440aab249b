"""Nodes of three sizes: cards of four CA25 NPUs, each below a switch of its own, in pools."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.sim.device import SimDevice

CARD: Final = 4
PREFIX: Final = "rebellions.ai"
LONER: Final = SimDevice(bdf="f000:01:00.0", vendor="8086", device="0d90", driver="dfl-pci")
"""An accelerator without a node in /dev, whose coming and going would be seen without any event."""
EACH_ALONE: Final = {"probation": {"repeatSeconds": 0.05, "maxSeconds": 0.05}}
"""Each change is one of its own here, and not a device that flaps."""


class Size(NamedTuple):
    """How much there is."""

    name: str
    pools: int
    devices: int

    @property
    def resources(self) -> tuple[str, ...]:
        """The pools' full names."""
        return tuple(f"{PREFIX}/P{n}" for n in range(self.pools))

    @property
    def each(self) -> int:
        """A pool's devices."""
        return self.devices // self.pools

    def __str__(self) -> str:
        return f"{self.name}: {self.pools} pools, {self.devices:,} devices"


SIZES: Final[Mapping[str, Size]] = {
    size.name: size
    for size in (Size("small", 3, 48), Size("middle", 8, 1024), Size("large", 32, 4096))
}


def npus(count: int) -> tuple[SimDevice, ...]:
    """NPUs, four a card and a PCI domain; the first half of the cards on the first NUMA node."""
    cards = count // CARD
    return tuple(_npu(n, numa=n // CARD * 2 // cards) for n in range(count))


def _npu(number: int, numa: int) -> SimDevice:
    domain, on_card = f"{number // CARD:04x}", number % CARD
    above = ("10:01.0", "11:00.0", "12:04.0", "13:00.0", f"14:0{on_card}.0")
    return SimDevice(
        bdf=f"{domain}:{0x15 + on_card:02x}:00.0",
        device="1250",
        numa=numa,
        parents=tuple(f"{domain}:{bridge}" for bridge in above),
        iommu=100 + number,
        rbln=f"rbln{number}",
    )


def with_loner(size: Size) -> tuple[SimDevice, ...]:
    """A node whose last device is LONER."""
    return (*npus(size.devices)[:-1], LONER)


def config(size: Size, devices: tuple[SimDevice, ...]) -> dict[str, Any]:
    """The configuration; the last pool takes each change for one of its own where it has LONER."""
    return {"resourceList": [_pool(size, devices, number) for number in range(size.pools)]}


def _pool(size: Size, devices: tuple[SimDevice, ...], number: int) -> dict[str, Any]:
    mine = devices[number * size.each : (number + 1) * size.each]
    return {
        "resourceName": f"P{number}",
        "resourcePrefix": PREFIX,
        "deviceType": "accelerator",
        "selectors": {"pciAddresses": [device.bdf for device in mine]},
        **({"health": EACH_ALONE} if LONER in mine else {}),
    }

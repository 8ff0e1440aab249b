"""Network functions: each PCI function of class 02 a device."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.types.kind import Candidate, Kind
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, _: Iterable[Subfunction]) -> Iterable[Candidate]:
    """The function itself, unless it has given its place to its virtual functions."""
    yield Candidate(Device(DeviceId(function.bdf), function), _refusal(function))


def _refusal(function: PciFunction) -> str | None:
    if function.driver is None:
        return "no driver is bound to it"
    if function.sriov and function.has_vfs:
        return "its virtual functions are enabled: they are given out in its place"
    if function.network and function.network.default_route:
        return "the node's default route leaves through it"
    return None


KIND: Final = Kind(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"),
        *("pfNames", "rootDevices", "linkTypes", "ddpProfiles", "pKeys"),
        *("isRdma", "needVhostNet", "vdpaType"),
    ),
    candidates=candidates,
)

"""Processing accelerators such as NPUs; each PCI function is a device."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, _: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the function itself; one with enabled virtual functions is refused."""
    yield Candidate(Device(DeviceId(function.bdf), function), _refusal_reason(function))


def _refusal_reason(function: PciFunction) -> str | None:
    if function.driver is None:
        return "no driver is bound to it"
    if function.vendor == REBELLIONS and function.has_vfs:
        return "its virtual functions are enabled: they are given out in its place"
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x12,
    selectors=("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"),
    candidates=candidates,
)

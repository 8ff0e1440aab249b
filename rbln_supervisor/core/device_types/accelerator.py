"""Processing accelerators such as NPUs; each PCI function is a device."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec, RefusalReason
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, _: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the function itself; one with enabled virtual functions is refused."""
    yield Candidate(Device(DeviceId(function.bdf), function), _refusal_reason(function))


def _refusal_reason(function: PciFunction) -> RefusalReason | None:
    if function.driver is None:
        return RefusalReason.NO_DRIVER
    if function.vendor == REBELLIONS and function.has_vfs:
        return RefusalReason.VFS_ENABLED
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x12,
    selectors=("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"),
    candidates=candidates,
)

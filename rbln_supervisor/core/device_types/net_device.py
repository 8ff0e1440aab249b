"""Network functions: PFs without VFs, and VFs; each is a device."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec, RefusalReason
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, _: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the function itself; one with VFs or with the node's default route is refused."""
    yield Candidate(Device(DeviceId(function.bdf), function), _refusal_reason(function))


def _refusal_reason(function: PciFunction) -> RefusalReason | None:
    if function.driver is None:
        return RefusalReason.NO_DRIVER
    # As in the reference: a function without the file is no SR-IOV PF, even with VFs below it.
    if function.has_vfs and function.sriov:
        return RefusalReason.VFS_ENABLED
    if function.network is not None and function.network.default_route:
        return RefusalReason.DEFAULT_ROUTE
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes", "pfNames"),
        *("rootDevices", "linkTypes", "ddpProfiles", "pKeys", "isRdma", "needVhostNet", "vdpaType"),
    ),
    candidates=candidates,
)

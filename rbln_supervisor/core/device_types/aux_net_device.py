"""Network sub-functions: auxiliary devices below a network function, PF or VF."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec, RefusalReason
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, subfunctions: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the sub-functions; their function is no device of this type, whatever its state."""
    for one in subfunctions:
        device = Device(DeviceId(one.name), function, one)
        yield Candidate(device, _refusal_reason(function, one))


def _refusal_reason(function: PciFunction, subfunction: Subfunction) -> RefusalReason | None:
    if function.driver is None:
        return RefusalReason.NO_FUNCTION_DRIVER
    if subfunction.network.default_route:
        return RefusalReason.DEFAULT_ROUTE
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "auxTypes", "pfNames", "rootDevices", "linkTypes"),
        *("isRdma", "needVhostNet"),
    ),
    candidates=candidates,
)

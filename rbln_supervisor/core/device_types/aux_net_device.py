"""Network sub-functions: auxiliary devices below a network function, PF or VF."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec
from rbln_supervisor.core.device_types.net_device import DEFAULT_ROUTE
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, subfunctions: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the sub-functions; their function is no device of this type, whatever its state."""
    for one in subfunctions:
        device = Device(DeviceId(one.name), function, one)
        yield Candidate(device, _refusal_reason(function, one))


def _refusal_reason(function: PciFunction, subfunction: Subfunction) -> str | None:
    if function.driver is None:
        return f"no driver is bound to its PCI function {function.bdf}"
    if subfunction.network.default_route:
        return DEFAULT_ROUTE
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "auxTypes", "pfNames", "rootDevices", "linkTypes"),
        *("isRdma", "needVhostNet"),
    ),
    candidates=candidates,
)

"""Network functions: PFs without VFs, and VFs; each is a device."""

from collections.abc import Iterable
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction

DEFAULT_ROUTE: Final = (
    "the node's default route leaves through it, and would end in a container "
    "(--allow-default-route gives it out all the same)"
)


def candidates(function: PciFunction, _: Iterable[Subfunction]) -> Iterable[Candidate]:
    """Yield the function itself; one with VFs or with the node's default route is refused."""
    yield Candidate(Device(DeviceId(function.bdf), function), _refusal_reason(function))


def _refusal_reason(function: PciFunction) -> str | None:
    if function.driver is None:
        return "no driver is bound to it"
    # As in the reference: a function without the file is no SR-IOV PF, even with VFs below it.
    if function.has_vfs and function.sriov:
        return "its virtual functions are enabled: they are given out in its place"
    if function.network is not None and function.network.default_route:
        return DEFAULT_ROUTE
    return None


KIND: Final = DeviceTypeSpec(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes", "pfNames"),
        *("rootDevices", "linkTypes", "ddpProfiles", "pKeys", "isRdma", "needVhostNet", "vdpaType"),
    ),
    candidates=candidates,
)

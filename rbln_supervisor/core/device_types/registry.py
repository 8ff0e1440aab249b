"""All device types, by their name in the configuration."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec, RefusalReason
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId, PciFunction, Subfunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType

Candidates = Iterator[Candidate]


def _accelerators(function: PciFunction, _: Iterable[Subfunction]) -> Candidates:
    """Yield the function itself; one with enabled virtual functions is refused."""
    refusal = None
    if function.driver is None:
        refusal = RefusalReason.NO_DRIVER
    elif function.vendor == REBELLIONS and function.has_vfs:
        refusal = RefusalReason.VFS_ENABLED
    yield Candidate(Device(DeviceId(function.bdf), function), refusal)


def _net_devices(function: PciFunction, _: Iterable[Subfunction]) -> Candidates:
    """Yield the function itself; one with VFs or with the node's default route is refused."""
    refusal = None
    if function.driver is None:
        refusal = RefusalReason.NO_DRIVER
    # As in the reference: a function without the file is no SR-IOV PF, even with VFs below it.
    elif function.has_vfs and function.sriov:
        refusal = RefusalReason.VFS_ENABLED
    elif function.network is not None and function.network.default_route:
        refusal = RefusalReason.DEFAULT_ROUTE
    yield Candidate(Device(DeviceId(function.bdf), function), refusal)


def _aux_net_devices(function: PciFunction, subfunctions: Iterable[Subfunction]) -> Candidates:
    """Yield the sub-functions; their function is no device of this type, whatever its state."""
    for one in subfunctions:
        refusal = None
        if function.driver is None:
            refusal = RefusalReason.NO_FUNCTION_DRIVER
        elif one.network.default_route:
            refusal = RefusalReason.DEFAULT_ROUTE
        yield Candidate(Device(DeviceId(one.name), function, one), refusal)


DEVICE_TYPES: Final[Mapping[DeviceType, DeviceTypeSpec]] = {
    "accelerator": DeviceTypeSpec(
        base_class=0x12,
        selectors=("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"),
        candidates=_accelerators,
    ),
    "netDevice": DeviceTypeSpec(
        base_class=0x02,
        selectors=(
            *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes", "pfNames"),
            *("rootDevices", "linkTypes", "ddpProfiles", "pKeys", "isRdma", "needVhostNet"),
            "vdpaType",
        ),
        candidates=_net_devices,
    ),
    "auxNetDevice": DeviceTypeSpec(
        base_class=0x02,
        selectors=(
            *("vendors", "devices", "drivers", "auxTypes", "pfNames", "rootDevices", "linkTypes"),
            *("isRdma", "needVhostNet"),
        ),
        candidates=_aux_net_devices,
    ),
}


def candidates(node: NodeInventory, device_type: DeviceType) -> Iterator[Candidate]:
    """Yield the node's devices of a type, sorted by ID of their functions."""
    kind = DEVICE_TYPES[device_type]
    for bdf, function in node.functions.items():
        if function.base_class == kind.base_class:
            yield from kind.candidates(function, node.subfunctions.get(bdf, ()))

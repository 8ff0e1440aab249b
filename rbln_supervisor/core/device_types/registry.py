"""All device types, by their name in the configuration."""

from collections.abc import Iterator, Mapping
from typing import Final

from rbln_supervisor.core.device_types import accelerator, aux_net_device, net_device
from rbln_supervisor.core.device_types.base import Candidate, DeviceTypeSpec
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType

DEVICE_TYPES: Final[Mapping[DeviceType, DeviceTypeSpec]] = {
    "accelerator": accelerator.KIND,
    "netDevice": net_device.KIND,
    "auxNetDevice": aux_net_device.KIND,
}


def candidates(node: NodeInventory, device_type: DeviceType) -> Iterator[Candidate]:
    """Yield the node's devices of a type, sorted by ID of their functions."""
    kind = DEVICE_TYPES[device_type]
    for bdf, function in node.functions.items():
        if function.base_class == kind.base_class:
            yield from kind.candidates(function, node.subfunctions.get(bdf, ()))

"""The devices of a node, as the last discovery found them."""

from collections.abc import Iterator, Mapping

import msgspec

from rbln_supervisor.core.device_types.base import Candidate
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_worker.contract.device import Bdf, PciFunction, Subfunction
from rbln_worker.contract.pool import DeviceType


class NodeInventory(msgspec.Struct, frozen=True):
    """Functions and sub-functions, and devices that could not be read."""

    functions: Mapping[Bdf, PciFunction] = {}
    """By address, sorted."""
    subfunctions: Mapping[Bdf, tuple[Subfunction, ...]] = {}
    """By the address of the PCI function that they belong to, each sorted by name."""
    unreadable: Mapping[str, str] = {}
    """By address or name: the reason."""


def candidates(node: NodeInventory, device_type: DeviceType) -> Iterator[Candidate]:
    """Yield the node's devices of a type, sorted by ID of their functions."""
    kind = DEVICE_TYPES[device_type]
    for bdf, function in node.functions.items():
        if function.base_class == kind.base_class:
            yield from kind.candidates(function, node.subfunctions.get(bdf, ()))

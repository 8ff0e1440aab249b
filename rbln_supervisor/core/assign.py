"""Which pool gets which device: the first pool of the file, by its first selector that matches."""

from collections.abc import Iterable

from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.configuration.selectors import SelectorObject
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolName


def assign(
    pools: Iterable[PoolConfig], functions: Iterable[PciFunction]
) -> dict[PoolName, dict[DeviceId, Device]]:
    """The devices of each pool, sorted by ID; no device is in two pools."""
    free = {
        function.bdf: function
        for function in sorted(functions, key=lambda function: function.bdf)
        if function.driver is not None
    }
    assigned: dict[PoolName, dict[DeviceId, Device]] = {}
    for pool in pools:
        base_class = KINDS[pool.spec.device_type].base_class
        taken = [
            function
            for function in free.values()
            if function.base_class == base_class
            and unusable(function) is None
            and any(matches(selector, function) for selector in pool.selectors)
        ]
        assigned[pool.spec.name] = {
            DeviceId(function.bdf): Device(DeviceId(function.bdf), function) for function in taken
        }
        for function in taken:
            del free[function.bdf]
    return assigned


def matches(selector: SelectorObject, function: PciFunction) -> bool:
    """Whether each list that is not empty holds the function's value, letter by letter."""
    return all(
        not wanted or value in wanted
        for wanted, value in (
            (selector.vendors, function.vendor),
            (selector.devices, function.product),
            (selector.drivers, function.driver),
            (selector.pci_addresses, function.bdf),
            (selector.acpi_indexes, function.acpi_index),
        )
    )


def unusable(function: PciFunction) -> str | None:
    """Why no pool can have a function, whatever its selectors say; None where one can."""
    if function.driver is None:
        return "no driver is bound to it"
    if function.vendor == REBELLIONS and function.has_vfs:
        return "its virtual functions are enabled: they are given out in its place"
    return None

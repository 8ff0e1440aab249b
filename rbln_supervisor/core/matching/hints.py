"""Mistakes in selectors: values that identify a device, under a key that can't match it."""

from collections.abc import Iterable, Iterator, Mapping

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_worker.contract.device import Device


def selector_hints(
    pools: Iterable[PoolConfig], device: Device, altnames: Mapping[str, str]
) -> Iterator[str]:
    """Yield corrections, one for each selector object that seems to mean the device.

    Args:
        pools: the configured pools.
        device: the device in question.
        altnames: the names of interfaces by their alternative names.
    """
    pf = device.pf or device.function.bdf
    has_pf = device.pf is not None or device.function.has_vfs
    for pool in pools:
        for index, selector in enumerate(pool.selectors):
            place = f"{pool.spec.name} selectors[{index}]"
            if has_pf and pf in selector.pci_addresses:
                yield (
                    f"{place}.pciAddresses has the address of the PF {pf}, which selects only the "
                    "PF: rootDevices selects the functions below it"
                )
            for entry in selector.pf_names:
                if (name := altnames.get(entry.pf)) in device.pf_names:
                    yield (
                        f"{place}.pfNames has {entry.pf}, an alternative name of its PF {name}: "
                        f"pfNames accepts {name}"
                    )

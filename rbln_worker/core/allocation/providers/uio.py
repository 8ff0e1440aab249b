"""A function with a user-space driver on uio (Documentation/driver-api/uio-howto.rst)."""

import re
from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import DirEntries, Need, Unread
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Provider,
    ProviderInput,
    pci_sysfs_dir,
    same_path,
    shorten_reason,
)

_DRIVERS: Final = frozenset({"uio", "igb_uio", "uio_pci_generic"})
_NODE_NAME: Final = re.compile(r"uio[0-9]{1,6}")


def applies_to(device: Device, _: PoolSpec) -> bool:
    """Select devices that are bound to one of uio's drivers."""
    return device.function.driver in _DRIVERS


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the read of the ``uio`` folder, whose entry has the name of the node."""
    return (_uio_entries(device),)


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the function's node."""
    names = source.facts.dir_entries(_uio_entries(source.device))
    if isinstance(names, Unread):
        why = shorten_reason(names.why, source.device)
        return ContainerEdits(faults=(f"no uio node ({why})",))
    if not names or not _NODE_NAME.fullmatch(names[0]):
        got = repr(names[0][:40]) if names else "nothing"
        return ContainerEdits(
            faults=(f"no uio node (uio: expected an entry such as uio0, got {got})",)
        )
    node = same_path(f"/dev/{names[0]}")
    return ContainerEdits(nodes=(node,), info={"uio": {"mount": node.container}})


def _uio_entries(device: Device) -> DirEntries:
    return DirEntries(f"{pci_sysfs_dir(device)}/uio")


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)

"""What devices the node has now."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.node import Node
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.host import sysfs


class NotRead(Exception):
    """The node's devices can't be listed: what was known of them still stands."""


class Look(NamedTuple):
    """One look at the node."""

    node: Node
    problems: tuple[str, ...]
    """One line for each function that can't be described."""


def look(root: Path, pools: Iterable[PoolConfig]) -> Look:
    """The PCI functions that any of the pools could want; NotRead."""
    configured = tuple(pools)
    found = sysfs.scan(
        root,
        base_classes=frozenset(KINDS[pool.spec.device_type].base_class for pool in configured),
        acpi_indexes=any(
            selector.acpi_indexes for pool in configured for selector in pool.selectors
        ),
    )
    if found.failed is not None:
        raise NotRead(found.failed)
    unreadable = {str(function.bdf): function.why for function in found.unreadable}
    return Look(
        Node(
            functions={function.bdf: function for function in found.functions},
            unreadable=unreadable,
        ),
        tuple(f"device {bdf} is left out: {why}" for bdf, why in unreadable.items()),
    )

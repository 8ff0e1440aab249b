"""The reads that a discovery needs, and its result."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.node import Node
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.contract.device import Bdf, LinkState
from rbln_worker.contract.holding import Held
from rbln_worker.host import look as host
from rbln_worker.host.inventory import Needs


class Look(msgspec.Struct, frozen=True):
    """The result of one discovery."""

    node: Node = Node()
    links: Mapping[int, LinkState] = {}
    """Links of our network namespace, by index."""
    problems: tuple[str, ...] = ()
    """One line for each device that can't be described, and for each fact missing for all
    devices."""
    failed: str | None = None
    """Reason why the discovery failed; the previous result stays valid."""
    held: Held | None = None
    """Devices that pods use; None if that was not requested."""
    looked: frozenset[Bdf] | None = None
    """Functions that were read; None: all, and a function that is missing from ``node`` is gone."""


def needs(
    pools: Iterable[PoolConfig], *, allow_default_route: bool, only: frozenset[Bdf] | None = None
) -> Needs:
    """Return what a discovery has to read of the node for these pools.

    ``only``: restricts it to these functions; None: all functions.
    """
    pools = tuple(pools)
    types = {pool.spec.device_type for pool in pools}
    selectors = tuple(selector for pool in pools for selector in pool.selectors)
    return Needs(
        only=only,
        base_classes=frozenset(KINDS[name].base_class for name in types),
        acpi_indexes=any(selector.acpi_indexes for selector in selectors),
        subfunctions="auxNetDevice" in types,
        rdma=any(selector.is_rdma for selector in selectors),
        ddp_profiles=any(selector.ddp_profiles for selector in selectors),
        default_routes=not allow_default_route,
    )


def look(root: Path, needed: Needs) -> Look:
    """Read the node's devices; may block for as long as the kernel does."""
    found = host.look(root, needed)
    if found.failed is not None:
        return Look(failed=f"the node's devices can't be listed: {found.failed}")
    unreadable = {device.name: device.why for device in found.unreadable}
    return Look(
        Node(
            functions={function.bdf: function for function in found.functions},
            subfunctions=found.subfunctions,
            unreadable=unreadable,
        ),
        found.links,
        (
            *(f"device {name} is left out: {why}" for name, why in unreadable.items()),
            *found.problems,
        ),
        looked=found.looked,
    )

"""What a look at the node is for, and what came of it."""

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
    """One look at the node."""

    node: Node = Node()
    links: Mapping[int, LinkState] = {}
    """Of our network namespace, by index."""
    problems: tuple[str, ...] = ()
    """One line for each device that can't be described, and for what is not known of all."""
    failed: str | None = None
    """Why there is no node in it; what was known before still stands."""
    held: Held | None = None
    """Who has which device; None where that was not asked."""
    looked: frozenset[Bdf] | None = None
    """Which functions were looked at; None: all, and what is not in it is not there."""


def needs(
    pools: Iterable[PoolConfig], *, allow_default_route: bool, only: frozenset[Bdf] | None = None
) -> Needs:
    """What has to be known of the node so that its devices can be given to these pools.

    ``only``: of these functions; None: of all.
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
    """Look at the node; may wait for as long as the kernel lets it."""
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

"""The reads that a discovery needs, and its result."""

from collections.abc import Iterable
from pathlib import Path

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.core.matching.node_inventory import NodeInventory
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.problem import Code, make_problem
from rbln_worker.host.discovery import scan as host
from rbln_worker.host.discovery.inventory import Needs


def required_reads(
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
        base_classes=frozenset(DEVICE_TYPES[name].base_class for name in types),
        acpi_indexes=any(selector.acpi_indexes for selector in selectors),
        subfunctions="auxNetDevice" in types,
        rdma=any(selector.is_rdma for selector in selectors),
        ddp_profiles=any(selector.ddp_profiles for selector in selectors),
        default_routes=not allow_default_route,
    )


def scan_node(root: Path, needed: Needs) -> DiscoveryResult:
    """Read the node's devices; may block for as long as the kernel does."""
    found = host.scan_host(root, needed)
    if found.failed is not None:
        return DiscoveryResult(failed=f"the node's devices can't be listed: {found.failed}")
    unreadable = {device.name: device.why for device in found.unreadable}
    return DiscoveryResult(
        NodeInventory(
            functions={function.bdf: function for function in found.functions},
            subfunctions=found.subfunctions,
            unreadable=unreadable,
        ),
        found.links,
        (
            *(
                make_problem(Code.DEVICE_UNREADABLE, f"device {name} is left out: {why}", name)
                for name, why in unreadable.items()
            ),
            *found.problems,
        ),
        discovered=found.discovered,
    )

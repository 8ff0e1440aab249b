"""The desired state of every pool, from the configuration, the last discovery and pods."""

from collections.abc import Iterable, Mapping

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.discovery.links import LinkTable, with_link_state
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.pod_devices import by_pool
from rbln_supervisor.core.workers.desired_state import DesiredState, reconcile
from rbln_supervisor.core.workers.held_devices import (
    absent_devices,
    held_by_other_export,
    retained_devices,
)
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolName


def assign_devices(
    config: NodeConfig,
    node: NodeInventory,
    links: LinkTable,
    holders: Iterable[PodDevice],
    before: Mapping[PoolName, DesiredState | None],
    *,
    now: float,
    grace_s: float,
) -> Mapping[PoolName, DesiredState]:
    """Return the desired states of the pools in ``before``.

    Args:
        config: the active configuration.
        node: the result of the last discovery.
        links: the current link table.
        holders: the devices that pods hold.
        before: the current desired state of each pool to compute, without those that are adopted.
        now: monotonic seconds.
        grace_s: seconds for which a device that is gone stays listed.
    """
    holders = tuple(holders)
    in_use = by_pool(holders)
    assigned = assign(config.pools, node)
    # IDs are unique over pools: up to 1.36 the kubelet finds a pod's device by its ID alone.
    taken = set(assigned.taken)
    desired: dict[PoolName, DesiredState] = {}
    for pool in config.pools:
        name = pool.spec.name
        if name not in before:
            continue
        held = in_use.get(name, {}).keys()
        present = {
            **assigned.devices[name],
            **retained_devices(pool, node, held, taken),
        }
        for device, why in held_by_other_export(pool.spec, holders).items():
            if device in present:
                present[device] = msgspec.structs.replace(present[device], held=why)
        desired[name] = reconcile(
            msgspec.structs.replace(
                before[name] or DesiredState(pool.spec), in_use=absent_devices(pool, held)
            ),
            pool,
            {d: with_link_state(device, links) for d, device in sorted(present.items())},
            taken,
            node,
            now=now,
            grace_s=grace_s,
        )
        taken.update(desired[name].devices)
    return desired

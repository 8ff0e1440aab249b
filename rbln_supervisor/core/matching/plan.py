"""The effect of another configuration: on the pools, and on the devices of this node."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import Decision, match_counts
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import PoolName, export_text

Change = Literal["added", "removed", "changed", "unchanged"]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)


class PoolPlan(msgspec.Struct, frozen=True):
    """The planned change of a pool."""

    change: Change
    """Change of its configuration; a pool with an unchanged one may still get other devices."""
    devices: tuple[DeviceId, ...] = ()
    """Planned devices, sorted."""
    counts: Mapping[Decision, int] = {}
    """Planned results of matching for the devices of its type; 0 is left out."""
    new_export: str = ""
    """How it would be exported, if that changes: ``by DRA (npu.rebellions.ai)``."""


class Move(msgspec.Struct, frozen=True):
    """A device that would change its pool."""

    device: DeviceId
    before: PoolName | None
    """Current pool."""
    after: PoolName | None


class Plan(msgspec.Struct, frozen=True):
    """The effect of a configuration on this node, as a dry run."""

    pools: Mapping[PoolName, PoolPlan] = {}
    """In the order of the file, followed by removed pools."""
    moves: tuple[Move, ...] = ()
    """Sorted by device."""
    stay: int = 0
    """Number of devices that stay in their pool."""

    def pools_with(self, change: Change) -> tuple[PoolName, ...]:
        """Return the pools with a change."""
        return tuple(name for name, pool in self.pools.items() if pool.change == change)


Removals = Mapping[tuple[str, DeviceId], str]
"""Devices that a configuration removes from a pool, each with its new place in words.

The keys name a pool as the kubelet does: by its resource name, or by its DRA driver.
"""


def changed_pools(before: NodeConfig, after: NodeConfig) -> Mapping[PoolName, Change]:
    """Return what a new configuration does with each pool: those of the file, then removed ones."""
    old = {pool.spec.name: pool for pool in before.pools}
    changes: dict[PoolName, Change] = {}
    for pool in after.pools:
        former = old.pop(pool.spec.name, None)
        kept: Change = "unchanged" if former == pool else "changed"
        changes[pool.spec.name] = "added" if former is None else kept
    return {**changes, **dict.fromkeys(sorted(old), "removed")}


def make_plan(
    before: NodeConfig,
    served: Mapping[PoolName, Iterable[DeviceId]],
    after: NodeConfig,
    node: NodeInventory,
) -> Plan:
    """Return the effect of a configuration.

    Args:
        before: the configuration that is served.
        served: the devices that each pool has now.
        after: the new configuration.
        node: the result of a discovery for it.
    """
    assigned = assign(after.pools, node)
    counts = match_counts(after.pools, node)
    exports = _new_exports(before, after)
    pools = {
        name: PoolPlan(
            change,
            tuple(assigned.devices.get(name, ())),
            counts.get(name, {}),
            exports.get(name, ""),
        )
        for name, change in changed_pools(before, after).items()
    }
    now = {device: name for name, devices in served.items() for device in devices}
    then = {device: place.pool for device, place in assigned.taken.items()}
    moves = tuple(
        Move(device, now.get(device), then.get(device))
        for device in sorted(now.keys() | then.keys())
        if now.get(device) != then.get(device)
    )
    return Plan(
        pools=pools,
        moves=moves,
        stay=sum(then.get(device) == name for device, name in now.items()),
    )


def devices_removed(
    before: NodeConfig,
    listed: Mapping[PoolName, Iterable[DeviceId]],
    after: NodeConfig,
    node: NodeInventory,
) -> Removals:
    """Return the devices that another configuration removes from pools.

    Both configurations are matched with the same node, so devices that are gone are not counted.

    Args:
        before: the configuration that is served.
        listed: the devices that each pool lists, including those that are gone.
        after: the new configuration.
        node: the result of a discovery for both.
    """
    old, new = assign(before.pools, node), assign(after.pools, node)
    stays = {pool.spec.name for pool in after.pools}
    exports = _new_exports(before, after)
    lost: dict[tuple[str, DeviceId], str] = {}
    for pool in before.pools:
        name = pool.spec.name
        key = pool.spec.dra.driver if pool.spec.dra else name
        for device in sorted({*old.devices[name], *listed.get(name, ())}):
            then = new.taken[device].pool if device in new.taken else None
            vanished = device not in old.devices[name] and then is None
            is_kept = then == name or (vanished and name in stays)
            if is_kept and name in exports:
                lost[key, device] = f"exported {exports[name]}"
            elif not is_kept:
                lost[key, device] = f"in {then or 'no pool'}"
    return lost


def _new_exports(before: NodeConfig, after: NodeConfig) -> Mapping[PoolName, str]:
    """Return the pools that another configuration exports in another way, and how."""
    old = {pool.spec.name: pool.spec.dra and pool.spec.dra.driver for pool in before.pools}
    return {
        pool.spec.name: export_text(pool.spec.dra)
        for pool in after.pools
        if pool.spec.name in old and old[pool.spec.name] != (pool.spec.dra and pool.spec.dra.driver)
    }


def present_ids(devices: Iterable[Device]) -> tuple[DeviceId, ...]:
    """Return the IDs of devices that are present, not only listed."""
    return tuple(device.id for device in devices if device.gone is None)

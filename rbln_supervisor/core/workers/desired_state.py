"""The desired state of a pool: a device that is gone stays listed as Unhealthy for a grace period.

The kubelet shows a container's device that is missing from the list as unknown, and one that is
listed as Unhealthy with its state. A device that comes back within the grace period (a driver is
reloaded, a function is reset) never leaves the pool's capacity.
"""

import math
from collections.abc import Container, Iterable, Mapping, Set

import msgspec

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.base import Candidate
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.core.discovery.links import LinkTable, with_link_state
from rbln_supervisor.core.matching.assign import bound_selectors
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.messages import Snapshot
from rbln_worker.contract.pool import PoolName, PoolSpec


class DesiredState(msgspec.Struct, frozen=True):
    """The desired state of a pool."""

    pool: PoolSpec
    devices: Mapping[DeviceId, Device] = {}
    """Sorted by ID."""
    gone_since: Mapping[DeviceId, float] = {}
    """By device that is gone: when it went (monotonic seconds)."""
    generation: int = 0
    """Increases with every change of the pool or of a device."""
    selectors: tuple[SelectorObject, ...] | None = ()
    """Selectors that matched the devices; None if an earlier supervisor matched them."""
    in_use: Mapping[DeviceId, Device] = {}
    """Devices that pods hold, with the description to list if no discovery has found them. They
    stay listed while pods hold them."""


def reconcile(
    before: DesiredState,
    pool: PoolConfig,
    present: Mapping[DeviceId, Device],
    assigned: Container[DeviceId],
    node: NodeInventory,
    *,
    now: float,
    grace_s: float,
) -> DesiredState:
    """Return the desired state after a discovery or with a new configuration.

    Args:
        before: the current desired state.
        pool: the pool as it is configured now.
        present: the devices that are assigned to the pool now.
        assigned: the devices that any pool has now: those of another pool leave this one at once.
        node: the result of the discovery.
        now: monotonic seconds.
        grace_s: seconds for which a device that is gone stays listed.
    """
    in_use = before.in_use
    listed = {**in_use, **before.devices}
    gone_since = {
        device: since
        for device, value in listed.items()
        if device not in present
        and device not in assigned
        and _is_of_type(value, before, pool)
        and (device in in_use or not _is_deselected(value, before, node))
        and (
            now < (since := before.gone_since.get(device, _gone_at(device, before, now))) + grace_s
            or device in in_use
        )
    }
    gone = {
        device: msgspec.structs.replace(listed[device], gone=_why_gone(listed[device], pool, node))
        for device in gone_since
    }
    devices = dict(sorted({**present, **gone}.items()))
    if pool.spec == before.pool and devices == before.devices and before.generation:
        return msgspec.structs.replace(before, gone_since=gone_since, selectors=pool.selectors)
    return DesiredState(
        pool=pool.spec,
        devices=devices,
        gone_since=gone_since,
        generation=before.generation + 1,
        selectors=pool.selectors,
        in_use=in_use,
    )


def update_links(before: DesiredState, links: LinkTable) -> DesiredState:
    """Return the desired state after links came up or went down."""
    changed = {
        device.id: after
        for device in before.devices.values()
        if device.gone is None and (after := with_link_state(device, links)) is not device
    }
    if not changed:
        return before
    return msgspec.structs.replace(
        before,
        devices={**before.devices, **changed},
        generation=before.generation + 1,
    )


def from_orphan(
    pool: PoolSpec, devices: Iterable[Device], before: DesiredState | None, *, now: float
) -> DesiredState:
    """Return the desired state that continues the state of an adopted worker.

    The grace period of devices that are gone starts now: nothing says when they went.
    """
    held = {device.id: device for device in devices}
    return DesiredState(
        pool=pool,
        devices=dict(sorted(held.items())),
        gone_since={device.id: now for device in held.values() if device.gone is not None},
        generation=(before.generation if before else 0) + 1,
        selectors=None,
    )


def make_snapshot(roster: DesiredState, session: str, *, repeats_list: bool = False) -> Snapshot:
    """Return the message that brings a worker up to date."""
    devices = tuple(roster.devices.values())
    return Snapshot(session, roster.generation, roster.pool, devices, repeats_list)


def next_removal(roster: DesiredState, grace_s: float) -> float | None:
    """Return when the next device that is gone leaves the list (monotonic seconds)."""
    leaves = (
        since + grace_s
        for device, since in roster.gone_since.items()
        if device not in roster.in_use
    )
    return min(leaves, default=None)


def _gone_at(device: DeviceId, before: DesiredState, now: float) -> float:
    """Return when a device went; one that was never seen has no grace period."""
    return now if device in before.devices else -math.inf


def _is_of_type(device: Device, before: DesiredState, pool: PoolConfig) -> bool:
    """Return True if the device is of the type that the pool has now."""
    return device.id not in before.devices or pool.spec.device_type == before.pool.device_type


def _is_deselected(device: Device, before: DesiredState, node: NodeInventory) -> bool:
    """Return True if the new configuration removed the device: the former one would select it.

    The former selectors are matched, and the device is not compared: facts that no selector uses
    come and go (an interface that a pod has is in none of our namespaces), and the reads depend on
    the configuration. If the former selectors are not known, only the comparison is left: an
    unchanged device that is not selected any more was removed by the configuration.
    """
    now = _candidate_now(device, before.pool, node)
    if device.gone is not None or now is None or now.refusal is not None:
        return False
    if before.selectors is None:
        same = msgspec.structs.replace(
            now.device, grants=device.grants, carriers=device.carriers, held=device.held
        )
        return same == device
    former = PoolConfig(before.pool, before.selectors)
    objects = bound_selectors([former], before.pool.device_type)
    return any(one.compiled.matches_device(now.device) for one in objects)


def _why_gone(device: Device, pool: PoolConfig, node: NodeInventory) -> str:
    now = _candidate_now(device, pool.spec, node)
    if now is None:
        why = node.unreadable.get(device.id) or node.unreadable.get(device.function.bdf)
        return f"can't be read: {why}" if why else "unplugged"
    if now.refusal is not None:
        return now.refusal.text
    before, after = device.function.driver, now.device.function.driver
    if before != after and device.function.vendor:  # otherwise its earlier state is not known
        return f"driver {after} is bound to it, {before} was"
    as_now = msgspec.structs.replace(
        device, gone=None, grants=now.device.grants, carriers=now.device.carriers, held=""
    )
    changed = "it changed: " if device.function.vendor and as_now != now.device else ""
    objections = [
        one.compiled.first_mismatch(now.device)
        for one in bound_selectors([pool], pool.spec.device_type)
    ]
    match objections:
        case [Mismatch(key=key, has=has)]:
            return f"{changed}the pool's {key} reject it, it has {has or 'none'}"
        case _:
            return f"{changed}no selector object of the pool matches it any more"


def _candidate_now(device: Device, pool: PoolSpec, node: NodeInventory) -> Candidate | None:
    """Return the candidate with the device's ID in the last discovery; None if there is none."""
    bdf = device.function.bdf
    function = node.functions.get(bdf)
    kind = DEVICE_TYPES[pool.device_type]
    if function is None or function.base_class != kind.base_class:
        return None
    found = kind.candidates(function, node.subfunctions.get(bdf, ()))
    return next((one for one in found if one.device.id == device.id), None)


def affected_devices(
    functions: Set[Bdf | None], rosters: Mapping[PoolName, DesiredState]
) -> Mapping[PoolName, tuple[DeviceId, ...]]:
    """Return the devices that events concern, for each pool with such devices, sorted.

    These are the devices that events name, and those of the same IOMMU groups: a neighbour with
    a host driver makes a group unusable. The group of a function of no pool is not known, so it
    concerns every device that has a group.

    Args:
        functions: one for each event; None, for an event without one, matches no device.
        rosters: the desired state of each pool.
    """
    devices = [device for roster in rosters.values() for device in roster.devices.values()]
    groups = {one.function.iommu_group for one in devices if one.function.bdf in functions}
    if functions - {one.function.bdf for one in devices} - {None}:
        groups |= {one.function.iommu_group for one in devices}
    groups.discard("")
    found = {
        pool: tuple(
            name
            for name, one in roster.devices.items()
            if one.function.bdf in functions or one.function.iommu_group in groups
        )
        for pool, roster in rosters.items()
    }
    return {pool: devices for pool, devices in found.items() if devices}

"""Matching of devices to pools: the first pool of the file with a selector object that matches.

Each device is matched on its own, independently of the inventory's order and of other devices. That
holds across types: a sub-function and its PCI function are two devices.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES, candidates
from rbln_supervisor.core.matching.selector_match import CompiledSelector
from rbln_worker.contract.device import Device, DeviceId, Grants
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType, PoolName


class SelectorRef(NamedTuple):
    """A selector object of a pool."""

    pool: PoolName
    selector: int
    """Index in the pool's ``selectors``."""


class Assignment(NamedTuple):
    """The devices of all pools."""

    devices: Mapping[PoolName, Mapping[DeviceId, Device]]
    """Devices of each pool, including pools without any; sorted by ID."""
    taken: Mapping[DeviceId, SelectorRef]
    """The selector object that matched each device; no device is in two pools."""


class BoundSelector(NamedTuple):
    """A selector object, compiled for matching."""

    place: SelectorRef
    grants: Grants
    compiled: CompiledSelector


def assign(pools: Iterable[PoolConfig], node: NodeInventory) -> Assignment:
    """Return the devices of each pool."""
    pools = tuple(pools)
    devices: dict[PoolName, dict[DeviceId, Device]] = {pool.spec.name: {} for pool in pools}
    taken: dict[DeviceId, SelectorRef] = {}
    for device_type in dict.fromkeys(pool.spec.device_type for pool in pools):
        objects = tuple(bound_selectors(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            if candidate.refusal is None and (first := _first_match(objects, device)):
                granted = msgspec.structs.replace(device, grants=first.grants)
                devices[first.place.pool][device.id] = granted
                taken[device.id] = first.place
    return Assignment({name: dict(sorted(each.items())) for name, each in devices.items()}, taken)


def bound_selectors(
    pools: Iterable[PoolConfig], device_type: DeviceType
) -> Iterator[BoundSelector]:
    """Yield the selector objects of a type's pools, in the order in which they are matched."""
    keys = DEVICE_TYPES[device_type].selectors
    for pool in pools:
        if pool.spec.device_type == device_type:
            for index, selector in enumerate(pool.selectors):
                place = SelectorRef(pool.spec.name, index)
                yield BoundSelector(place, _grants_of(selector), CompiledSelector(selector, keys))


def _first_match(objects: Iterable[BoundSelector], device: Device) -> BoundSelector | None:
    return next((one for one in objects if one.compiled.matches_device(device)), None)


def _grants_of(selector: SelectorObject) -> Grants:
    return Grants(rdma=selector.is_rdma, vhost_net=selector.need_vhost_net, vdpa=selector.vdpa_type)

"""Which pool gets which device: the first pool of the file, by its first object that matches.

A device is decided on alone, so that neither the order of the inventory nor the other devices have
a say in it. That holds across types: a sub-function and its PCI function are two devices.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from rbln_supervisor.core.configuration.pool import PoolConfig
from rbln_supervisor.core.configuration.selectors import SelectorObject
from rbln_supervisor.core.node import Node, candidates
from rbln_supervisor.core.selecting import Questions
from rbln_supervisor.core.types.registry import KINDS
from rbln_worker.contract.device import Device, DeviceId, Grants
from rbln_worker.contract.pool import DeviceType, PoolName


class Place(NamedTuple):
    """A selector object of a pool."""

    pool: PoolName
    selector: int
    """Its index in the pool's ``selectors``."""


class Assignment(NamedTuple):
    """Every device that a pool has."""

    devices: Mapping[PoolName, Mapping[DeviceId, Device]]
    """Of each pool, also of one that has none; sorted by ID."""
    taken: Mapping[DeviceId, Place]
    """What took a device; no device is in two pools."""


class Asked(NamedTuple):
    """A selector object that can be asked."""

    place: Place
    grants: Grants
    questions: Questions


def assign(pools: Iterable[PoolConfig], node: Node) -> Assignment:
    """The devices of each pool."""
    pools = tuple(pools)
    devices: dict[PoolName, dict[DeviceId, Device]] = {pool.spec.name: {} for pool in pools}
    taken: dict[DeviceId, Place] = {}
    for device_type in dict.fromkeys(pool.spec.device_type for pool in pools):
        objects = tuple(asked(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            if candidate.refusal is None and (first := _first(objects, device)):
                granted = msgspec.structs.replace(device, grants=first.grants)
                devices[first.place.pool][device.id] = granted
                taken[device.id] = first.place
    return Assignment({name: dict(sorted(each.items())) for name, each in devices.items()}, taken)


def asked(pools: Iterable[PoolConfig], device_type: DeviceType) -> Iterator[Asked]:
    """The selector objects of a type's pools, in the order in which they are asked."""
    keys = KINDS[device_type].selectors
    for pool in pools:
        if pool.spec.device_type == device_type:
            for index, selector in enumerate(pool.selectors):
                place = Place(pool.spec.name, index)
                yield Asked(place, _grants(selector), Questions(selector, keys))


def _first(objects: Iterable[Asked], device: Device) -> Asked | None:
    return next((one for one in objects if one.questions.match(device)), None)


def _grants(selector: SelectorObject) -> Grants:
    return Grants(rdma=selector.is_rdma, vhost_net=selector.need_vhost_net, vdpa=selector.vdpa_type)

"""The node matched with a configuration: the devices of pools, and near misses."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.base import Candidate, RefusalReason
from rbln_supervisor.core.doctor.facts import NearMiss, PoolView, Unclaimed
from rbln_supervisor.core.matching.assign import BoundSelector, SelectorRef, assign, bound_selectors
from rbln_supervisor.core.matching.hints import selector_hints
from rbln_supervisor.core.matching.node_inventory import NodeInventory, candidates
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId
from rbln_worker.contract.pool import DeviceType
from rbln_worker.core.allocation.providers import vfio

ACCELERATOR = "accelerator"


def pool_views(pools: Iterable[PoolConfig], node: NodeInventory) -> dict[str, PoolView]:
    """Return the result of matching for each pool."""
    pools = tuple(pools)
    assigned = assign(pools, node)
    found: dict[str, PoolView] = {}
    for device_type in dict.fromkeys(pool.spec.device_type for pool in pools):
        objects = tuple(bound_selectors(pools, device_type))
        every = tuple(candidates(node, device_type))
        for pool in pools:
            if pool.spec.device_type == device_type:
                ours = [one for one in objects if one.place.pool == pool.spec.name]
                found[pool.spec.name] = _pool_view(
                    pool, ours, every, assigned.taken, assigned.devices[pool.spec.name]
                )
    return {pool.spec.name: found[pool.spec.name] for pool in pools}


def unclaimed_devices(pools: Iterable[PoolConfig], node: NodeInventory) -> Iterator[Unclaimed]:
    """Yield devices without the driver that a pool selects, and NPUs that no pool selects."""
    pools = tuple(pools)
    taken = assign(pools, node).taken
    for device_type in dict.fromkeys((*(pool.spec.device_type for pool in pools), ACCELERATOR)):
        objects = tuple(bound_selectors(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            if device.id in taken or candidate.refusal not in (None, RefusalReason.NO_DRIVER):
                continue
            near = [one for one in objects if _wants_but_for_driver(one, device)]
            npu = device.function.vendor == REBELLIONS and device_type == ACCELERATOR
            if near or npu:
                yield Unclaimed(
                    device.id,
                    device.function.driver or "",
                    tuple(dict.fromkeys(d for one in near for d in one.compiled.wanted.drivers)),
                    tuple(dict.fromkeys(one.place.pool for one in near)),
                )


def _pool_view(
    pool: PoolConfig,
    objects: list[BoundSelector],
    every: tuple[Candidate, ...],
    taken: Mapping[DeviceId, SelectorRef],
    devices: Mapping[DeviceId, Device],
) -> PoolView:
    earlier: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    misses: Counter[tuple[int, str]] = Counter()
    said: dict[tuple[int, str], Mismatch] = {}
    for candidate in every:
        device = candidate.device
        place = taken.get(device.id)
        if candidate.refusal is not None:
            refused[candidate.refusal.text] += 1
        elif place is not None and place.pool == pool.spec.name:
            continue
        elif any(one.compiled.matches_device(device) for one in objects):
            earlier[place.pool if place else ""] += 1
        else:
            for one in objects:
                if objection := one.compiled.first_mismatch(device):
                    key = one.place.selector, objection.key
                    misses[key] += 1
                    said.setdefault(key, objection)
    mixed_up = (
        hint for candidate in every for hint in selector_hints([pool], candidate.device, {})
    )
    nearest = None
    if misses:
        key, count = misses.most_common(1)[0]
        nearest = NearMiss(key[0], said[key], count)
    return PoolView(
        device_type=pool.spec.device_type,
        candidates=len(every),
        takes=len(devices),
        earlier=dict(earlier),
        refused=dict(refused),
        nearest=nearest,
        hints=tuple(dict.fromkeys(mixed_up)),
        vfio=_asks_for_vfio(pool)
        or any(vfio.applies_to(one, pool.spec) for one in devices.values()),
    )


def _asks_for_vfio(pool: PoolConfig) -> bool:
    drivers = (driver for selector in pool.selectors for driver in selector.drivers)
    return any(driver.endswith(("vfio-pci", "vfio_pci")) for driver in drivers)


def _wants_but_for_driver(one: BoundSelector, device: Device) -> bool:
    """Return True if the device matches an object, except for its driver."""
    objection = one.compiled.first_mismatch(device)
    if objection is None:
        return not device.function.driver
    return objection.key == "drivers"


def types_of(pools: Iterable[PoolConfig]) -> frozenset[DeviceType]:
    """Return the types to discover: those of the pools, and NPUs in any case."""
    return frozenset({ACCELERATOR, *(pool.spec.device_type for pool in pools)})

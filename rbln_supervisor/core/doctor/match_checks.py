"""A node matched with a configuration: pools without devices, devices without a pool."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.device_types.registry import candidates
from rbln_supervisor.core.matching.assign import BoundSelector, assign, bound_selectors
from rbln_supervisor.core.matching.explain import Decision, match_counts, match_notes
from rbln_supervisor.core.matching.hints import selector_hints
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import REBELLIONS, Device, DeviceId
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.problem import Code, Problem, count_text, make_problem

ACCELERATOR: Final = "accelerator"


Unselected = dict[DeviceId, tuple[BoundSelector, ...]]
"""Devices without a pool, each with the selector objects that match it except for its driver."""


def selects_vfio(pool: PoolConfig) -> bool:
    """Return True if a selector of the pool names a vfio driver."""
    drivers = (driver for selector in pool.selectors for driver in selector.drivers)
    return any(driver.endswith(("vfio-pci", "vfio_pci")) for driver in drivers)


def match_problems(pools: Sequence[PoolConfig], node: NodeInventory) -> Iterator[Problem]:
    """Yield the problems of pools and of devices without a pool."""
    counts = match_counts(pools, node)
    text = "no device on this node matches its selectors"
    for pool in pools:
        name = pool.spec.name
        if not counts[name][Decision.MATCHED]:
            evidence = tuple(_mismatch_lines(pool, node, counts[name]))
            yield make_problem(Code.POOL_EMPTY, text, name, evidence)
    for driver, devices in _unselected_devices(pools, node).items():
        yield _driver_problem(driver, devices)


def _mismatch_lines(
    pool: PoolConfig, node: NodeInventory, counts: Counter[Decision]
) -> Iterator[str]:
    """Yield the results of matching, the selector that rejects most, and hints."""
    device_type = pool.spec.device_type
    yield f"{count_text(counts.total(), 'device')} of type {device_type} on the node"
    yield from match_notes(counts)
    every = tuple(candidates(node, device_type))
    free = [one.device for one in every if one.refusal is None]
    rejected: defaultdict[tuple[int, str], list[Mismatch]] = defaultdict(list)
    for selector in bound_selectors([pool], device_type):
        for mismatch in filter(None, map(selector.compiled.first_mismatch, free)):
            rejected[selector.place.selector, mismatch.key].append(mismatch)
    if rejected:
        (index, key), mismatches = max(rejected.items(), key=lambda item: len(item[1]))
        wanted, has = " or ".join(mismatches[0].wanted), mismatches[0].has or "none"
        rejects = f"selectors[{index}].{key} rejects {len(mismatches)}"
        yield f"{rejects}: expected {wanted}, the first has {has}"
    hints = (hint for one in every for hint in selector_hints([pool], one.device, {}))
    yield from dict.fromkeys(hints)


def _unselected_devices(
    pools: Sequence[PoolConfig], node: NodeInventory
) -> Mapping[str | None, Unselected]:
    """Return NPUs, and devices that match except for their driver, by the driver."""
    assigned = assign(pools, node)
    unselected: defaultdict[str | None, Unselected] = defaultdict(dict)
    for device_type in dict.fromkeys((*(pool.spec.device_type for pool in pools), ACCELERATOR)):
        selectors = tuple(bound_selectors(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            may_match = candidate.refusal in {None, RefusalReason.NO_DRIVER}
            if device.id in assigned.taken or not may_match:
                continue
            near = tuple(one for one in selectors if _matches_but_for_driver(one, device))
            is_npu = device.function.vendor == REBELLIONS and device_type == ACCELERATOR
            if near or is_npu:
                unselected[device.function.driver][device.id] = near
    return unselected


def _matches_but_for_driver(one: BoundSelector, device: Device) -> bool:
    mismatch = one.compiled.first_mismatch(device)
    return mismatch is None or mismatch.key == "drivers"


def _driver_problem(driver: str | None, devices: Unselected) -> Problem:
    """Return the problem of devices with the same driver, or without one."""
    first, near = next(iter(devices.items()))
    drivers = tuple(dict.fromkeys(name for one in near for name in one.compiled.wanted.drivers))
    lines = tuple(_device_line(*device) for device in devices.items())
    count = count_text(len(devices), "device")
    if driver is None:
        name = drivers[0] if drivers else "rebellions"
        hint = (
            f"lspci -ks {first}; modprobe {name}; echo {first} > /sys/bus/pci/drivers/{name}/bind"
        )
        text = f"no driver is bound to {count}"
        return make_problem(Code.DRIVER_MISSING, text, evidence=lines, hint=hint)
    selected = f"pools select {' or '.join(drivers)}" if drivers else "no pool selects that"
    text = f"{count} bound to {driver}, and {selected}"
    hint = f"rbln-ctl explain {first}; select {driver} in a pool, or bind another driver"
    return make_problem(Code.DEVICE_NOT_SELECTED, text, evidence=lines, hint=hint)


def _device_line(device: DeviceId, near: Sequence[BoundSelector]) -> str:
    pools = dict.fromkeys(one.place.pool for one in near)
    return f"{device}, selected by {', '.join(pools)}" if pools else device

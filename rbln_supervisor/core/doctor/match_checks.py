"""A node matched with a configuration: pools without devices, devices without a pool."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.base import Candidate, RefusalReason
from rbln_supervisor.core.device_types.registry import candidates
from rbln_supervisor.core.matching.assign import Assignment, BoundSelector, assign, bound_selectors
from rbln_supervisor.core.matching.hints import selector_hints
from rbln_worker.contract.device import REBELLIONS, Device
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import DeviceType
from rbln_worker.contract.problem import Code, Problem, count_text, make_problem

ACCELERATOR: Final = "accelerator"


class _Unclaimed(NamedTuple):
    """A device without a pool: an NPU, or one that matches except for its driver."""

    device: Device
    drivers: tuple[str, ...]
    """Drivers in the selectors that match otherwise; empty: any driver."""
    pools: tuple[str, ...]
    """Pools with such selectors."""

    @property
    def line(self) -> str:
        """A line of evidence."""
        pools = f", selected by {', '.join(self.pools)}" if self.pools else ""
        return f"{self.device.id}{pools}"


def types_of(pools: Iterable[PoolConfig]) -> frozenset[DeviceType]:
    """Return the types to discover: those of the pools, and NPUs in any case."""
    return frozenset({ACCELERATOR, *(pool.spec.device_type for pool in pools)})


def selects_vfio(pool: PoolConfig) -> bool:
    """Return True if a selector of the pool names a vfio driver."""
    drivers = (driver for selector in pool.selectors for driver in selector.drivers)
    return any(driver.endswith(("vfio-pci", "vfio_pci")) for driver in drivers)


def match_problems(pools: Sequence[PoolConfig], node: NodeInventory) -> Iterator[Problem]:
    """Yield the problems of pools and of devices without a pool."""
    assigned = assign(pools, node)
    for pool in pools:
        objects = [
            one
            for one in bound_selectors(pools, pool.spec.device_type)
            if one.place.pool == pool.spec.name
        ]
        every = tuple(candidates(node, pool.spec.device_type))
        yield from _check_pool(pool, objects, every, assigned)
    yield from _check_drivers(tuple(_unclaimed_devices(pools, node, assigned)))


def _check_pool(
    pool: PoolConfig,
    objects: Sequence[BoundSelector],
    every: Sequence[Candidate],
    assigned: Assignment,
) -> Iterator[Problem]:
    name = pool.spec.name
    refused = Counter(one.refusal.text for one in every if one.refusal is not None)
    free = [one.device for one in every if one.refusal is None]
    matching = dict.fromkeys(
        device.id for device in free if any(one.compiled.matches_device(device) for one in objects)
    )
    earlier = Counter(assigned.taken[device].pool for device in matching)
    del earlier[name]
    taken = tuple(f"{count} belong to {other}" for other, count in earlier.items())
    if assigned.devices[name]:
        if taken:
            text = "it also matches devices of pools before it in the file"
            yield make_problem(Code.SELECTORS_OVERLAP, text, name, taken)
        return
    lines = [f"{count_text(len(every), 'device')} of type {pool.spec.device_type} on the node"]
    lines += taken
    lines += [f"{count} not assignable: {reason}" for reason, count in refused.items()]
    mismatches = [
        (one.place.selector, mismatch)
        for device in free
        if device.id not in matching
        for one in objects
        if (mismatch := one.compiled.first_mismatch(device))
    ]
    counts = Counter((index, mismatch.key) for index, mismatch in mismatches)
    for (index, key), count in counts.most_common(1):
        first = next(one for at, one in mismatches if (at, one.key) == (index, key))
        value = f"has {first.has}" if first.has else "has none"
        wanted = " or ".join(first.wanted)
        lines.append(
            f"selectors[{index}].{key} rejects {count}: expected {wanted}, the first {value}"
        )
    hints = (hint for one in every for hint in selector_hints([pool], one.device, {}))
    lines += dict.fromkeys(hints)
    text = "no device on this node matches its selectors"
    yield make_problem(Code.POOL_EMPTY, text, name, tuple(lines))


def _unclaimed_devices(
    pools: Sequence[PoolConfig], node: NodeInventory, assigned: Assignment
) -> Iterator[_Unclaimed]:
    for device_type in dict.fromkeys((*(pool.spec.device_type for pool in pools), ACCELERATOR)):
        objects = tuple(bound_selectors(pools, device_type))
        for candidate in candidates(node, device_type):
            device = candidate.device
            if device.id in assigned.taken or candidate.refusal not in (
                None,
                RefusalReason.NO_DRIVER,
            ):
                continue
            near = [one for one in objects if _matches_but_for_driver(one, device)]
            is_npu = device.function.vendor == REBELLIONS and device_type == ACCELERATOR
            if near or is_npu:
                yield _Unclaimed(
                    device,
                    tuple(dict.fromkeys(d for one in near for d in one.compiled.wanted.drivers)),
                    tuple(dict.fromkeys(one.place.pool for one in near)),
                )


def _matches_but_for_driver(one: BoundSelector, device: Device) -> bool:
    mismatch = one.compiled.first_mismatch(device)
    if mismatch is None:
        return not device.function.driver
    return mismatch.key == "drivers"


def _check_drivers(unclaimed: Sequence[_Unclaimed]) -> Iterator[Problem]:
    groups: defaultdict[tuple[str, tuple[str, ...]], list[_Unclaimed]] = defaultdict(list)
    for one in unclaimed:
        driver = one.device.function.driver or ""
        groups[driver, one.drivers if driver else ()].append(one)
    for (driver, drivers), ones in groups.items():
        first = ones[0].device.id
        lines = tuple(one.line for one in ones)
        count = count_text(len(ones), "device")
        if not driver:
            name = ones[0].drivers[0] if ones[0].drivers else "rebellions"
            text = f"no driver is bound to {count}"
            hint = (
                f"lspci -ks {first}; modprobe {name}; "
                f"echo {first} > /sys/bus/pci/drivers/{name}/bind"
            )
            yield make_problem(Code.DRIVER_MISSING, text, evidence=lines, hint=hint)
            continue
        if drivers:
            code = Code.DRIVER_NOT_SELECTED
            text = f"{count} bound to {driver}, and pools select {' or '.join(drivers)}"
        else:
            code = Code.DEVICE_NOT_SELECTED
            text = f"{count} bound to {driver}, and no pool selects that"
        hint = f"rbln-ctl explain {first}; select {driver} in a pool, or bind another driver"
        yield make_problem(code, text, evidence=lines, hint=hint)

"""Devices that share IOMMU groups: only one VM can use a group, so it is allocated as a whole."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from itertools import groupby

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.topology import PoolTopology


def whole_groups(
    known: PoolTopology,
    available: Set[str],
    chosen: Sequence[DeviceId],
    must: Iterable[str],
    size: int,
) -> tuple[DeviceId, ...]:
    """Choose as few and as complete groups as possible, on the NUMA nodes of a choice.

    Groups of devices that must be included come first; groups with a device that is not available
    come last.

    Args:
        known: the pool, some of whose devices share groups.
        available: the devices to choose from; the pool's others are in use or Unhealthy.
        chosen: the choice without regard to groups; empty if there was none.
        must: devices that must be included.
        size: the number of devices to choose.
    """
    included = sorted(known.places.keys() & set(must))
    numa = {place.numa for one in chosen if (place := known.places[one]) is not None}
    free: dict[str, list[DeviceId]] = {}
    for device in sorted(known.places.keys() & available):
        place = known.places[device]
        if device not in included and (not numa or place is None or place.numa in numa):
            free.setdefault(known.groups.get(device, device), []).append(device)
    whole = Counter(known.groups.values())
    begun = {known.groups[device] for device in included if device in known.groups}

    def order(group: str) -> tuple[int, int, str]:
        broken = len(free[group]) < whole[group]  # 0 for a device without a group
        return 0 if group in begun else 2 if broken else 1, -len(free[group]), group

    picked: list[DeviceId] = []
    for _, groups in groupby(sorted(free, key=order), key=lambda group: order(group)[0]):
        too_large = ""
        for group in groups:  # the largest first: one that does not fit now never will
            needed = size - len(included) - len(picked)
            if len(free[group]) <= needed:
                picked += free[group]
            elif needed > 0:
                too_large = group
        needed = size - len(included) - len(picked)
        if too_large and needed > 0:
            picked += free[too_large][:needed]
    return tuple(sorted((*included, *picked)))

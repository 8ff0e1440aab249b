"""The answer to one container's request for a preferred allocation."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import Preferring
from rbln_worker.core.preferred import compact, grouped, packed, spread
from rbln_worker.core.preferred.budget import Budget, BudgetExceeded
from rbln_worker.core.preferred.greedy import simple
from rbln_worker.core.preferred.request import Bridge, PreferredRequest, question
from rbln_worker.core.preferred.topology import DeviceTopology, PoolTopology

_Best = Callable[[PreferredRequest, Budget], tuple[DeviceId, ...]]

_BEST: Final[Mapping[Preferring, _Best]] = {
    "": compact.best,
    "topology": compact.best,
    "packed": packed.best,
    "spread": spread.best,
}
_INCLUDED: Final[Callable[[Bridge], int]] = attrgetter("included")
_BEGUN: Final[Callable[[Bridge], int]] = attrgetter("begun")


class Preferred(msgspec.Struct, frozen=True):
    """The preferred devices: sorted; empty if the kubelet may choose."""

    devices: tuple[DeviceId, ...] = ()
    simply: bool = False
    """True if the budget was too small for the best choice; this is a valid one."""


class Refused(msgspec.Struct, frozen=True):
    """A refusal: the pool must not cross NUMA nodes, and no node has enough devices."""

    why: str


def choose(
    known: PoolTopology, available: Iterable[str], must: Iterable[str], size: int, budget: Budget
) -> Preferred | Refused:
    """Return the preferred devices; if devices share IOMMU groups, whole groups.

    Any request has an answer: names that are no devices of the pool are ignored, and a size that is
    not available is answered with the devices that must be included, or with all that are
    available.
    """
    if known.policy == "none":
        return Preferred()
    available = frozenset(available)
    chosen = _choose(known, available, must, size, budget)
    if not known.groups or isinstance(chosen, Refused):
        return chosen
    return Preferred(grouped.together(known, available, chosen.devices, must, size), chosen.simply)


def _choose(
    known: PoolTopology, available: Iterable[str], must: Iterable[str], size: int, budget: Budget
) -> Preferred | Refused:
    ours = known.places.keys()
    included = ours & must
    if size <= len(included):
        return Preferred(tuple(sorted(included)))
    free = (ours & available) - included
    places = {device: place for device, place in known.places.items() if place is not None}
    offered = included | free
    if not offered or not offered <= places.keys():
        return Preferred()  # another product: the reference has no answer
    may_cross = known.may_cross or size > _most(places[device] for device in offered)
    if len(offered) < size:
        return Preferred(tuple(sorted(offered))) if may_cross else _refused(size)
    asked = question(
        places,
        tuple(sorted(included)),
        tuple(sorted(free)),
        size - len(included),
        may_cross=may_cross,
    )
    if not may_cross and len(asked.touched) + asked.further() > 1:
        return _refused(size)
    return _answer(asked, known.policy, budget)


def _answer(asked: PreferredRequest, policy: Preferring, budget: Budget) -> Preferred:
    try:
        return Preferred(_BEST[policy](asked, budget))
    except BudgetExceeded:
        first = _BEGUN if policy == "packed" else _INCLUDED
        return Preferred(simple(asked, first), simply=True)


def _most(places: Iterable[DeviceTopology]) -> float:
    """Return the size above which a request has to cross NUMA nodes."""
    return max(float("inf") if one.numa_most is None else one.numa_most for one in places)


def _refused(size: int) -> Refused:
    return Refused(
        "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
        f"(>= {size}) found, topology-aware allocation failed"
    )

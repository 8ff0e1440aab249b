"""The answer to one container's request for a preferred allocation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Final, TypeVar

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import Preferring
from rbln_worker.core.preferred import compact, grouped, packed, spread
from rbln_worker.core.preferred.budget import Budget, BudgetError
from rbln_worker.core.preferred.request import Bridge, PreferredRequest, build_request
from rbln_worker.core.preferred.topology import DeviceTopology, PoolTopology

T = TypeVar("T")

_Best = Callable[[PreferredRequest, Budget], tuple[DeviceId, ...]]

_BEST: Final[Mapping[Preferring, _Best]] = {
    "": compact.best_compact,
    "topology": compact.best_compact,
    "packed": packed.best_packed,
    "spread": spread.best_spread,
}
_INCLUDED: Final[Callable[[Bridge], int]] = attrgetter("included")
_BEGUN: Final[Callable[[Bridge], int]] = attrgetter("begun")


class Preferred(msgspec.Struct, frozen=True):
    """The preferred devices: sorted; empty if the kubelet may choose."""

    devices: tuple[DeviceId, ...] = ()
    simply: bool = False
    """True if the budget was too small for the best choice; this is a valid one."""


class PreferenceRefused(msgspec.Struct, frozen=True):
    """A refusal: the pool must not cross NUMA nodes, and no node has enough devices."""

    why: str


def choose_devices(
    known: PoolTopology, available: Iterable[str], must: Iterable[str], size: int, budget: Budget
) -> Preferred | PreferenceRefused:
    """Return the preferred devices; if devices share IOMMU groups, whole groups.

    Any request has an answer: names that are no devices of the pool are ignored, and a size that is
    not available is answered with the devices that must be included, or with all that are
    available.
    """
    if known.policy == "none":
        return Preferred()
    available = frozenset(available)
    chosen = _choose_by_policy(known, available, must, size, budget)
    if not known.groups or isinstance(chosen, PreferenceRefused):
        return chosen
    devices = grouped.whole_groups(known, available, chosen.devices, must, size)
    return Preferred(devices, chosen.simply)


def _choose_by_policy(
    known: PoolTopology, available: Iterable[str], must: Iterable[str], size: int, budget: Budget
) -> Preferred | PreferenceRefused:
    ours = known.places.keys()
    included = ours & must
    if size <= len(included):
        return Preferred(tuple(sorted(included)))
    free = (ours & available) - included
    places = {device: place for device, place in known.places.items() if place is not None}
    offered = included | free
    if not offered or not offered <= places.keys():
        return Preferred()  # another product: the reference has no answer
    may_cross = known.may_cross or size > _max_on_one_node(places[device] for device in offered)
    if len(offered) < size:
        return Preferred(tuple(sorted(offered))) if may_cross else _refusal(size)
    asked = build_request(
        places,
        tuple(sorted(included)),
        tuple(sorted(free)),
        size - len(included),
        may_cross=may_cross,
    )
    if not may_cross and len(asked.touched) + asked.extra_nodes() > 1:
        return _refusal(size)
    return _best_or_simple(asked, known.policy, budget)


def _best_or_simple(asked: PreferredRequest, policy: Preferring, budget: Budget) -> Preferred:
    try:
        return Preferred(_BEST[policy](asked, budget))
    except BudgetError:
        first = _BEGUN if policy == "packed" else _INCLUDED
        return Preferred(_pick_greedy(asked, first), simply=True)


def _pick_greedy(request: PreferredRequest, first: Callable[[Bridge], int]) -> tuple[DeviceId, ...]:
    """Return a valid choice without a search, sorted: not always the fewest NUMA nodes and bridges.

    Bridges by ``first`` are filled before others.
    """
    room = request.room
    touched = sorted(request.touched & room.keys())
    left = request.needed - sum(room[node] for node in touched)
    others = _largest_first(sorted(room.keys() - request.touched), lambda node: room[node], left)
    chosen: list[DeviceId] = []
    for node in (*touched, *others):
        bridges = [bridge for bridge in request.bridges if bridge.numa == node]
        begun = sorted(filter(first, bridges), key=lambda one: (-first(one), -one.size))
        left = request.needed - len(chosen) - sum(bridge.size for bridge in begun)
        whole = (bridge for bridge in bridges if not first(bridge))
        for bridge in (*begun, *_largest_first(whole, lambda one: one.size, left)):
            chosen += bridge.devices
    return request.sorted_choice(chosen)


def _largest_first(items: Iterable[T], size: Callable[[T], int], needed: int) -> Iterator[T]:
    """Yield as many as needed: the largest ones, last the smallest sufficient one."""
    order = sorted(items, key=size, reverse=True)
    for n, item in enumerate(order):
        if needed <= 0:
            return
        if size(item) >= needed:
            yield min((one for one in order[n:] if size(one) >= needed), key=size)
            return
        yield item
        needed -= size(item)


def _max_on_one_node(places: Iterable[DeviceTopology]) -> float:
    """Return the size above which a request has to cross NUMA nodes."""
    return max(float("inf") if one.max_per_node is None else one.max_per_node for one in places)


def _refusal(size: int) -> PreferenceRefused:
    return PreferenceRefused(
        "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
        f"(>= {size}) found, topology-aware allocation failed"
    )

"""A valid choice without a search: few NUMA nodes and few bridges, not always the fewest."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.request import Bridge, PreferredRequest

T = TypeVar("T")


def pick_greedy(request: PreferredRequest, first: Callable[[Bridge], int]) -> tuple[DeviceId, ...]:
    """Return the choice, sorted: on the fewest NUMA nodes, bridges by ``first`` before others."""
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

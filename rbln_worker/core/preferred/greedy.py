"""A valid choice without a search: few NUMA nodes and few bridges, not always the fewest."""

from collections.abc import Callable, Iterator, Sequence

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.preferred.request import Bridge, PreferredRequest


def pick_greedy(request: PreferredRequest, first: Callable[[Bridge], int]) -> tuple[DeviceId, ...]:
    """Return the choice, sorted: on the fewest NUMA nodes, bridges by ``first`` before others."""
    on: dict[int, list[Bridge]] = {}
    for bridge in request.bridges:
        on.setdefault(bridge.numa, []).append(bridge)
    chosen: list[DeviceId] = []
    for node in _nodes_in_order(request):
        chosen += _devices_below(on[node], request.needed - len(chosen), first)
    return request.sorted_choice(chosen)


def _nodes_in_order(request: PreferredRequest) -> Iterator[int]:
    """Yield the touched NUMA nodes, then the largest ones, last the smallest sufficient one."""
    left = request.needed
    for node in sorted(request.touched & request.room.keys()):
        yield node
        left -= request.room[node]
    others = sorted(
        request.room.keys() - request.touched, key=lambda node: (-request.room[node], node)
    )
    for n, node in enumerate(others):
        if left <= 0:
            return
        if request.room[node] >= left:
            holding = [one for one in others[n:] if request.room[one] >= left]
            yield min(holding, key=lambda one: (request.room[one], one))
            return
        yield node
        left -= request.room[node]


def _devices_below(
    bridges: Sequence[Bridge], needed: int, first: Callable[[Bridge], int]
) -> Iterator[DeviceId]:
    """Yield devices: of first bridges, of the largest ones, last of the smallest sufficient one."""
    order = sorted(bridges, key=lambda bridge: (-first(bridge), -bridge.size))
    for n, bridge in enumerate(order):
        if needed <= 0:
            return
        if bridge.size > needed and not first(bridge):
            holding = [one for one in order[n:] if one.size >= needed]
            yield from min(holding, key=lambda one: one.size).devices[:needed]
            return
        yield from bridge.devices[:needed]
        needed -= bridge.size

"""Preferred allocations against oracles that try everything, and the reference's own choice."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.contract.pool import Preferring
from rbln_worker.core.preferred.budget import MAX_STEPS, Budget
from rbln_worker.core.preferred.choose import PreferenceRefused, Preferred, choose_devices
from rbln_worker.core.preferred.topology import DeviceTopology, PoolTopology

Seats = Mapping[DeviceId, DeviceTopology]
Devices = tuple[str, ...]
ROOM = 4
"""What the simulated product has on a NUMA node at most: small, so that crossing is common."""
POLICIES: tuple[Preferring, ...] = ("topology", "packed", "spread")


@st.composite
def nodes(draw: st.DrawFn) -> Seats:
    """Up to twelve devices below up to six bridges on up to four NUMA nodes."""
    where: dict[Bdf, tuple[int, Bdf]] = {}
    seats: dict[DeviceId, DeviceTopology] = {}
    for n in range(draw(st.integers(1, 12))):
        pf = Bdf(f"0000:{draw(st.integers(0, 8)):02x}:00.0")
        numa, bridge = where.setdefault(
            pf, (draw(st.integers(-1, 2)), Bdf(f"0000:f{draw(st.integers(0, 4))}:00.0"))
        )
        seats[DeviceId(f"0000:{draw(st.integers(0, 9))}{n:x}:00.0")] = DeviceTopology(
            numa, bridge, pf, ROOM
        )
    return seats


def span(seats: Seats, chosen: Devices) -> tuple[int, int]:
    """How many NUMA nodes and how many bridges."""
    places = [seats[DeviceId(device)] for device in chosen]
    return len({place.numa for place in places}), len({place.group_key for place in places})


def draw_request(data: st.DataObject, seats: Seats) -> tuple[list[str], list[str], int]:
    available = data.draw(st.lists(st.sampled_from(sorted(seats)), unique=True, min_size=1))
    must = data.draw(st.lists(st.sampled_from(available), unique=True, max_size=3))
    size = data.draw(st.integers(max(1, len(must)), len(available)))
    return list(available), list(must), size


def ask(
    seats: Seats,
    request: tuple[list[str], list[str], int],
    policy: Preferring = "topology",
    *,
    cross: bool = True,
    steps: int = MAX_STEPS,
) -> Preferred | PreferenceRefused:
    available, must, size = request
    return choose_devices(PoolTopology(seats, cross, policy), available, must, size, Budget(steps))


def devices_of(chosen: Preferred | PreferenceRefused) -> Devices:
    assert isinstance(chosen, Preferred)
    assert not chosen.simply
    return chosen.devices


def left_over(seats: Seats, available: list[str], chosen: Devices) -> int:
    touched = {seats[DeviceId(device)].group_key for device in chosen}
    return sum(
        seats[DeviceId(device)].group_key in touched for device in available if device not in chosen
    )


def topology(seats: Seats, available: list[str], must: list[str], chosen: Devices) -> object:
    return (*span(seats, chosen), left_over(seats, available, chosen))


def packed(seats: Seats, available: list[str], must: list[str], chosen: Devices) -> object:
    free = set(available) - set(must)
    used = Counter(place.group_key for device, place in seats.items() if device not in free)
    taken = [seats[DeviceId(device)].group_key for device in chosen if device not in must]
    begun = {below for below in taken if not used[below]}
    kept = sum(seats[DeviceId(device)].group_key in begun for device in free.difference(chosen))
    return span(seats, chosen)[0], len(begun), -sum(used[below] for below in taken), kept


def spread(seats: Seats, available: list[str], must: list[str], chosen: Devices) -> object:
    numa, bridges = span(seats, chosen)
    return -numa, -bridges, -len({seats[DeviceId(device)].pf for device in chosen})


Cost = Callable[[Seats, list[str], list[str], Devices], object]
COSTS: Mapping[Preferring, Cost] = {"topology": topology, "packed": packed, "spread": spread}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cross", [True, False])
@given(seats=nodes(), data=st.data())
def test_nothing_is_better(
    policy: Preferring,
    seats: Seats,
    data: st.DataObject,
    cross: bool,  # noqa: FBT001
) -> None:
    request = draw_request(data, seats)
    available, must, size = request
    found = ask(seats, request, policy, cross=cross)
    legal = [
        choice
        for choice in combinations(sorted(available), size)
        if set(must) <= set(choice)
        and (cross or size > ROOM or len(must) == size or span(seats, choice)[0] == 1)
    ]
    if not legal:
        assert isinstance(found, PreferenceRefused)
        return
    chosen = devices_of(found)
    assert chosen in legal
    cost = COSTS[policy]
    assert cost(seats, available, must, chosen) == min(
        cost(seats, available, must, choice)  # type: ignore[type-var]
        for choice in legal
    )


@given(nodes(), st.data())
def test_what_may_not_cross_is_refused_only_where_no_node_has_enough(
    seats: Seats, data: st.DataObject
) -> None:
    request = draw_request(data, seats)
    _, must, size = request
    chosen = ask(seats, request, cross=False)
    freely = devices_of(ask(seats, request))
    if size > ROOM or span(seats, freely)[0] == 1 or len(must) == size:
        assert devices_of(chosen) == freely  # where all is given, there is nothing to choose
    else:
        assert chosen == PreferenceRefused(
            "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
            f"(>= {size}) found, topology-aware allocation failed"
        )


@given(nodes(), st.data(), st.sampled_from(POLICIES), st.sampled_from([0, MAX_STEPS]))
def test_the_order_of_the_question_does_not_matter(
    seats: Seats, data: st.DataObject, policy: Preferring, steps: int
) -> None:
    available, must, size = draw_request(data, seats)
    before = ask(seats, (available, must, size), policy, steps=steps)
    shuffled = dict(data.draw(st.permutations(list(seats.items()))))
    again = (data.draw(st.permutations(available)), must[::-1], size)
    assert ask(shuffled, again, policy, steps=steps) == before


@given(nodes(), st.data(), st.sampled_from(POLICIES), st.booleans(), st.integers(0, 60))
def test_with_any_budget_the_answer_is_legal_and_refusals_are_the_same(
    seats: Seats,
    data: st.DataObject,
    policy: Preferring,
    cross: bool,  # noqa: FBT001
    steps: int,
) -> None:
    request = draw_request(data, seats)
    available, must, size = request
    chosen = ask(seats, request, policy, cross=cross, steps=steps)
    searched = ask(seats, request, policy, cross=cross)
    if isinstance(searched, PreferenceRefused):
        assert chosen == searched
        return
    assert isinstance(chosen, Preferred)
    assert len(chosen.devices) == len(set(chosen.devices)) == size
    assert set(must) <= set(chosen.devices) <= set(available)
    assert chosen.simply or chosen == searched
    if chosen.simply:  # as few NUMA nodes as the best by topology
        assert (
            span(seats, chosen.devices)[0]
            == (span(seats, devices_of(ask(seats, request, cross=cross)))[0])
        )


@given(nodes(), st.data(), st.booleans())
def test_it_is_never_wider_than_the_references_choice(
    seats: Seats,
    data: st.DataObject,
    cross: bool,  # noqa: FBT001
) -> None:
    available, _, size = draw_request(data, seats)
    chosen = ask(seats, (available, [], size), cross=cross)
    theirs = reference(seats, available, size, cross=cross)
    assert (theirs is None) == isinstance(chosen, PreferenceRefused)
    if theirs is None:
        return
    ours_span, their_span = span(seats, devices_of(chosen)), span(seats, theirs)
    assert ours_span <= their_span
    # With the same NUMA nodes it is never below more bridges; fewer nodes may cost bridges.
    assert ours_span[0] < their_span[0] or ours_span[1] <= their_span[1]


@given(
    nodes(),
    st.lists(st.text(max_size=3)),
    st.lists(st.text(max_size=3)),
    st.integers(-(2**31), 2**31),
    st.data(),
    st.sampled_from(["", *POLICIES]),
)
def test_any_question_has_a_legal_answer(
    seats: Seats,
    strange: list[str],
    more: list[str],
    size: int,
    data: st.DataObject,
    policy: Preferring,
) -> None:
    some = st.lists(st.sampled_from(sorted(seats)))
    available = [*strange, *data.draw(some)]
    must = [*more, *data.draw(some)]
    for places in (seats, {**seats, DeviceId("x"): None}, {}):
        chosen = choose_devices(PoolTopology(places, True, policy), available, must, size, Budget())  # noqa: FBT003
        assert isinstance(chosen, Preferred)
        assert len(set(chosen.devices)) == len(chosen.devices)
        assert set(chosen.devices) <= {*available, *must} & places.keys()
        assert len(chosen.devices) <= max(size, len(set(must)))


def reference(seats: Seats, available: list[str], size: int, *, cross: bool) -> Devices | None:
    """The reference's choice in the closed form that was checked against it; None: an error."""
    nodes: dict[int, dict[Bdf, list[str]]] = {}
    for device in available:
        place = seats[DeviceId(device)]
        nodes.setdefault(place.numa, {}).setdefault(place.bridge, []).append(device)
    counts = {numa: sum(map(len, bridges.values())) for numa, bridges in nodes.items()}
    if size > ROOM or cross:
        out: list[str] = []
        for numa in sorted(nodes, key=lambda numa: counts[numa]):
            if len(out) < size:
                out += pick(nodes[numa], min(size - len(out), counts[numa]))
        return tuple(out)
    fitting = [numa for numa in nodes if counts[numa] >= size]
    if not fitting:
        return None
    return tuple(pick(nodes[min(fitting, key=lambda numa: counts[numa])], size))


def pick(bridges: Mapping[Bdf, list[str]], size: int) -> list[str]:
    order = sorted(bridges.values(), key=len, reverse=True)
    for count in range(1, len(order) + 1):
        enough = [c for c in combinations(order, count) if sum(map(len, c)) >= size]
        if enough:
            best = min(enough, key=lambda choice: sum(map(len, choice)))
            return [device for bridge in best for device in bridge][:size]
    raise AssertionError

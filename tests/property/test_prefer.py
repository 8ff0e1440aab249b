"""Preferred allocations against an oracle that tries everything, and the reference's own choice."""

from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.core.prefer import Layout, Place, Refused, choose

Seats = Mapping[DeviceId, Place]
ROOM = 4
"""What the simulated product has on a NUMA node at most: small, so that crossing is common."""


@st.composite
def nodes(draw: st.DrawFn) -> Seats:
    """Up to ten devices below up to six bridges on up to four NUMA nodes."""
    where: dict[Bdf, int] = {}
    seats: dict[DeviceId, Place] = {}
    for n in range(draw(st.integers(1, 10))):
        bridge = Bdf(f"0000:{draw(st.integers(0, 5)):02x}:00.0")
        numa = where.setdefault(bridge, draw(st.integers(-1, 2)))
        seats[DeviceId(f"0000:{draw(st.integers(0, 9))}{n}:00.0")] = Place(numa, bridge, ROOM)
    return seats


def span(seats: Seats, chosen: tuple[str, ...]) -> tuple[int, int]:
    """How many NUMA nodes and how many bridges."""
    places = [seats[DeviceId(device)] for device in chosen]
    return len({place.numa for place in places}), len({place.bridge for place in places})


def draw_request(data: st.DataObject, seats: Seats) -> tuple[list[str], list[str], int]:
    available = data.draw(st.lists(st.sampled_from(sorted(seats)), unique=True, min_size=1))
    must = data.draw(st.lists(st.sampled_from(available), unique=True, max_size=3))
    size = data.draw(st.integers(max(1, len(must)), len(available)))
    return list(available), list(must), size


@given(nodes(), st.data())
def test_nothing_spans_less(seats: Seats, data: st.DataObject) -> None:
    available, must, size = draw_request(data, seats)
    chosen = choose(Layout(seats, may_cross=True), available, must, size)
    assert not isinstance(chosen, Refused)
    assert len(chosen) == len(set(chosen)) == size
    assert set(must) <= set(chosen) <= set(available)
    best = min(
        span(seats, choice) for choice in combinations(available, size) if set(must) <= set(choice)
    )
    assert span(seats, chosen) == best


@given(nodes(), st.data())
def test_what_may_not_cross_is_refused_only_where_no_node_has_enough(
    seats: Seats, data: st.DataObject
) -> None:
    available, must, size = draw_request(data, seats)
    chosen = choose(Layout(seats, may_cross=False), available, must, size)
    freely = choose(Layout(seats, may_cross=True), available, must, size)
    assert not isinstance(freely, Refused)
    if size > ROOM or span(seats, freely)[0] == 1 or len(must) == size:
        assert chosen == freely  # where all is given, there is nothing to choose
    else:
        assert chosen == Refused(
            "cross-NUMA allocation not possible: no NUMA node with sufficient devices "
            f"(>= {size}) found, topology-aware allocation failed"
        )


@given(nodes(), st.data())
def test_the_order_of_the_question_does_not_matter(seats: Seats, data: st.DataObject) -> None:
    available, must, size = draw_request(data, seats)
    known = Layout(seats, may_cross=True)
    before = choose(known, available, must, size)
    shuffled = Layout(dict(data.draw(st.permutations(list(seats.items())))), may_cross=True)
    again = choose(shuffled, data.draw(st.permutations(available)), must[::-1], size)
    assert again == before


@given(nodes(), st.data(), st.booleans())
def test_it_is_never_wider_than_the_references_choice(
    seats: Seats,
    data: st.DataObject,
    cross: bool,  # noqa: FBT001
) -> None:
    available, _, size = draw_request(data, seats)
    chosen = choose(Layout(seats, may_cross=cross), available, (), size)
    theirs = reference(seats, available, size, cross=cross)
    assert (theirs is None) == isinstance(chosen, Refused)
    if theirs is None or isinstance(chosen, Refused):
        return
    ours_span, their_span = span(seats, chosen), span(seats, theirs)
    assert ours_span <= their_span
    # With the same NUMA nodes it is never below more bridges; fewer nodes may cost bridges.
    assert ours_span[0] < their_span[0] or ours_span[1] <= their_span[1]


@given(
    nodes(),
    st.lists(st.text(max_size=3)),
    st.lists(st.text(max_size=3)),
    st.integers(-(2**31), 2**31),
    st.data(),
)
def test_any_question_has_a_legal_answer(
    seats: Seats, strange: list[str], more: list[str], size: int, data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(sorted(seats)))
    available = [*strange, *data.draw(some)]
    must = [*more, *data.draw(some)]
    for places in (seats, {**seats, DeviceId("x"): None}, {}):
        chosen = choose(Layout(places, may_cross=True), available, must, size)
        assert not isinstance(chosen, Refused)
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= {*available, *must} & places.keys()
        assert len(chosen) <= max(size, len(set(must)))


def reference(seats: Seats, available: list[str], size: int, *, cross: bool) -> "Chosen":
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


Chosen = tuple[str, ...] | None

"""Preferred allocations in the shapes that the reference was asked about (C68-C82), and others."""

from time import perf_counter

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.prefer import Layout, Refused, choose, layout

Servers = dict[int, list[int]]
"""NUMA node → how many devices each of its bridges has."""


def node(server: Servers, product: str = "1250") -> tuple[Device, ...]:
    """Devices N.B.D: NUMA node, bridge, device."""
    return tuple(
        Device(
            DeviceId(f"{numa}.{bridge}.{n:02}"),
            PciFunction(
                Bdf(f"{numa}.{bridge}.{n:02}"),
                "1eff",
                product,
                0x12,
                "rebellions",
                numa if numa >= 0 else None,
                bridges=(Bdf("root"), Bdf("up"), Bdf(f"{numa}.{bridge}"), Bdf("down")),
            ),
        )
        for numa, bridges in server.items()
        for bridge, count in enumerate(bridges)
        for n in range(count)
    )


def server(shape: Servers, *, cross: bool = False) -> Layout:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator", allow_cross_numa=cross)
    return layout(spec, node(shape))


def asked(known: Layout, size: int, must: tuple[str, ...] = ()) -> list[str]:
    """The answer to a question that offers all there is, as bridges and counts: N.BxCOUNT."""
    chosen = choose(known, known.places, must, size)
    assert not isinstance(chosen, Refused), chosen
    assert set(must) <= set(chosen)
    bridges = [device.rpartition(".")[0] for device in chosen]
    return [f"{bridge}x{bridges.count(bridge)}" for bridge in dict.fromkeys(bridges)]


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "bridges"),
    [
        ({0: [3], 1: [4, 1]}, 4, ["1.0x4"]),  # C68; the reference splits it if it may cross
        ({0: [4, 3, 2, 1]}, 6, ["0.0x4", "0.2x2"]),  # C70
        ({0: [4, 3, 2, 1]}, 5, ["0.0x4", "0.3x1"]),
        ({0: [4, 3, 2, 1]}, 8, ["0.0x4", "0.1x3", "0.3x1"]),
        ({0: [4, 3, 3]}, 5, ["0.1x3", "0.2x2"]),  # C71
        ({0: [5, 3, 2]}, 4, ["0.0x4"]),
        ({0: [4, 4, 4, 4]}, 4, ["0.0x4"]),  # C72
        ({0: [4]}, 2, ["0.0x2"]),  # C73
        ({0: [16], 1: [4]}, 17, ["0.0x16", "1.0x1"]),  # C75: more than a NUMA node can have
        ({0: [2], 1: [2], 2: [3]}, 2, ["0.0x2"]),  # ties: the first NUMA node
        ({0: [4], 1: [2]}, 2, ["1.0x2"]),  # exactly as many, so that four stay together
        ({0: [2, 2], 1: [2]}, 2, ["1.0x2"]),  # the smaller NUMA node is used up
        ({-1: [2, 2]}, 3, ["-1.0x2", "-1.1x1"]),  # no NUMA node is known
    ],
)
def test_a_choice(shape: Servers, size: int, bridges: list[str], cross: bool) -> None:  # noqa: FBT001
    assert asked(server(shape, cross=cross), size) == bridges


@pytest.mark.parametrize(
    ("shape", "size", "bridges"),
    [
        ({0: [3], 1: [3]}, 4, ["0.0x3", "1.0x1"]),
        ({0: [6], 1: [1] * 7, 2: [6]}, 12, ["0.0x6", "2.0x6"]),  # not the NUMA nodes with most
        ({0: [2], 1: [2], 2: [4]}, 6, ["0.0x2", "2.0x4"]),
        ({0: [2, 1], 1: [1, 1]}, 9, ["0.0x2", "0.1x1", "1.0x1", "1.1x1"]),  # C76: all there is
    ],
)
def test_a_choice_that_crosses(shape: Servers, size: int, bridges: list[str]) -> None:
    assert asked(server(shape, cross=True), size) == bridges


@pytest.mark.parametrize(
    ("shape", "size", "must"),
    [
        ({0: [3], 1: [3]}, 4, ()),  # C69
        ({0: [3], 1: [4]}, 4, ("0.0.00",)),
        ({0: [3], 1: [4]}, 2, ("0.0.00", "1.0.00")),
        ({0: [3]}, 4, ()),
    ],
)
def test_what_would_cross_is_refused_as_the_reference_does(
    shape: Servers, size: int, must: tuple[str, ...]
) -> None:
    known = server(shape)
    chosen = choose(known, known.places, must, size)
    if len(must) == size:
        assert chosen == must  # nothing was left to choose
        return
    assert chosen == Refused(
        f"cross-NUMA allocation not possible: no NUMA node with sufficient devices (>= {size}) "
        "found, topology-aware allocation failed"
    )


@pytest.mark.parametrize(
    ("shape", "size", "must", "bridges"),
    [
        ({0: [4], 1: [4]}, 2, ("1.0.03",), ["1.0x2"]),
        ({0: [4, 4], 1: [8]}, 5, ("0.1.00",), ["0.0x1", "0.1x4"]),
        ({0: [4, 2]}, 4, ("0.0.00", "0.1.00"), ["0.0x2", "0.1x2"]),
        ({0: [2], 1: [3], 2: [5]}, 4, ("0.0.00",), ["0.0x2", "1.0x2"]),
        ({0: [2], 1: [2, 2], 2: [4]}, 6, ("0.0.00",), ["0.0x2", "2.0x4"]),
    ],
)
def test_what_must_be_included_counts_as_touched(
    shape: Servers, size: int, must: tuple[str, ...], bridges: list[str]
) -> None:
    assert asked(server(shape, cross=True), size, must) == bridges


@pytest.mark.parametrize(
    ("available", "must", "size", "answer"),
    [
        ([], [], 1, ()),  # C81
        (["0.0.00"], [], 0, ()),  # C77
        (["0.0.00"], [], -5, ()),
        (["0.0.00"], ["0.0.00"], -5, ("0.0.00",)),
        (["0.0.00", "0.0.01"], ["0.0.01", "0.0.00"], 1, ("0.0.00", "0.0.01")),
        (["0.0.00"] * 3, [], 2, ("0.0.00",)),
        (["0.0.00", "?", ""], [], 3, ("0.0.00",)),
        (["0.0.00"], ["0.0.02", "?"], 2, ("0.0.00", "0.0.02")),
        (["0.0.00"], [], 2**31, ("0.0.00",)),
        (["?"], [], 1, ()),
    ],
)
def test_an_odd_question(
    available: list[str], must: list[str], size: int, answer: tuple[str, ...]
) -> None:
    assert choose(server({0: [4]}, cross=True), available, must, size) == answer


def test_other_products_and_shallow_buses_leave_the_choice_to_the_kubelet() -> None:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator")
    for devices in (
        node({0: [4]}, product="1120"),
        node({0: [2]}) + node({1: [2]}, product="1120"),
        tuple(
            Device(
                device.id,
                PciFunction(device.function.bdf, "1eff", "1250", 0x12, "rebellions", 0),
            )
            for device in node({0: [4]})
        ),
    ):
        known = layout(spec, devices)
        assert choose(known, known.places, (), 3) == ()


def test_the_two_functions_of_a_product_are_one_product() -> None:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator")
    devices = node({0: [2]}) + node({1: [3]}, product="1251")
    known = layout(spec, devices)
    assert choose(known, known.places, (), 3) == ("1.0.00", "1.0.01", "1.0.02")


def test_it_takes_no_time_to_speak_of_where_trying_everything_would_take_years() -> None:
    known = server({numa: [3, 5] * 8 for numa in range(8)}, cross=True)
    began = perf_counter()
    for size in (1, 63, 65, 300, 511):
        chosen = choose(known, known.places, ("3.1.00",), size)
        assert isinstance(chosen, tuple)
        assert len(chosen) == size
    assert perf_counter() - began < 20.0

"""Preferred allocations in the shapes that the reference was asked about (C68-C82), and others."""

from collections.abc import Iterable

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec, Preferring
from rbln_worker.core.preferred.budget import MAX_STEPS, Budget, BudgetError
from rbln_worker.core.preferred.choose import PreferenceRefused, Preferred, choose_devices
from rbln_worker.core.preferred.topology import PoolTopology, pool_topology

Servers = dict[int, list[int]]
"""NUMA node → how many devices each of its bridges has."""
POLICIES: tuple[Preferring, ...] = ("", "topology", "packed", "spread")


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
                bridges=(
                    Bdf("root"),
                    Bdf("up"),
                    Bdf(f"{numa}.{bridge}"),
                    Bdf(f"{numa}.{bridge}.card"),
                    Bdf(f"{numa}.{bridge}.{n:02}.port"),
                ),
            ),
        )
        for numa, bridges in server.items()
        for bridge, count in enumerate(bridges)
        for n in range(count)
    )


def server(shape: Servers, *, cross: bool = False, policy: Preferring = "") -> PoolTopology:
    spec = PoolSpec(
        "rebellions.ai",
        "ATOM",
        "accelerator",
        allow_cross_numa=cross,
        preferred_allocation=policy,
    )
    return pool_topology(spec, node(shape))


def ask(
    known: PoolTopology,
    available: Iterable[str],
    must: Iterable[str],
    size: int,
    steps: int = MAX_STEPS,
) -> Preferred | PreferenceRefused:
    return choose_devices(known, available, must, size, Budget(steps))


def asked(
    known: PoolTopology,
    size: int,
    must: tuple[str, ...] = (),
    used: tuple[str, ...] = (),
    steps: int = MAX_STEPS,
) -> list[str]:
    """The answer where all that is not used is offered, as bridges and counts: N.BxCOUNT."""
    chosen = ask(known, known.places.keys() - set(used), must, size, steps)
    assert isinstance(chosen, Preferred), chosen
    assert set(must) <= set(chosen.devices)
    assert chosen.simply == (steps == 0)
    bridges = [device.rpartition(".")[0] for device in chosen.devices]
    return [f"{bridge}x{bridges.count(bridge)}" for bridge in dict.fromkeys(bridges)]


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("policy", ["", "topology"])
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
def test_a_choice(
    shape: Servers,
    size: int,
    bridges: list[str],
    policy: Preferring,
    cross: bool,  # noqa: FBT001
) -> None:
    assert asked(server(shape, cross=cross, policy=policy), size) == bridges


@pytest.mark.parametrize(
    ("shape", "size", "bridges"),
    [
        ({0: [3], 1: [3]}, 4, ["0.0x3", "1.0x1"]),
        ({0: [6], 1: [1] * 7, 2: [6]}, 12, ["0.0x6", "2.0x6"]),  # not the NUMA nodes with most
        ({0: [2], 1: [2], 2: [4]}, 6, ["0.0x2", "2.0x4"]),
        ({0: [4, 4], 1: [4, 1], 2: [4, 2]}, 8, ["0.0x4", "0.1x4"]),
        ({0: [4, 4], 1: [4, 1], 2: [4, 2]}, 9, ["1.0x4", "1.1x1", "2.0x4"]),
        ({0: [2, 1], 1: [1, 1]}, 9, ["0.0x2", "0.1x1", "1.0x1", "1.1x1"]),  # C76: all there is
    ],
)
def test_a_choice_that_crosses(shape: Servers, size: int, bridges: list[str]) -> None:
    assert asked(server(shape, cross=True), size) == bridges


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("steps", [MAX_STEPS, 0])
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
    shape: Servers, size: int, must: tuple[str, ...], policy: Preferring, steps: int
) -> None:
    known = server(shape, policy=policy)
    chosen = ask(known, known.places, must, size, steps)
    if len(must) == size:
        assert chosen == Preferred(tuple(map(DeviceId, must)))  # nothing was left to choose
        return
    assert chosen == PreferenceRefused(
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
    ("shape", "used", "size", "must", "bridges"),
    [
        ({0: [4, 4]}, ("0.1.00",), 1, (), ["0.1x1"]),  # a whole card stays whole
        ({0: [4, 4]}, ("0.1.00",), 4, (), ["0.0x1", "0.1x3"]),  # although one card would do
        ({0: [4, 4, 4]}, ("0.1.00", "0.2.01", "0.2.02"), 3, (), ["0.1x1", "0.2x2"]),
        ({0: [4, 4, 4]}, ("0.1.00", "0.2.01", "0.2.02"), 7, (), ["0.0x2", "0.1x3", "0.2x2"]),
        ({0: [4], 1: [4]}, ("1.0.00",), 2, (), ["1.0x2"]),  # the NUMA node that is begun
        ({0: [4, 4], 1: [4, 4]}, ("1.0.00", "1.0.01", "1.0.02", "1.0.03"), 4, (), ["1.1x4"]),
        ({0: [4], 1: [4]}, ("1.0.00",), 4, (), ["0.0x4"]),  # one NUMA node comes first
        ({0: [4, 3, 2]}, (), 2, (), ["0.2x2"]),  # the least left over
        ({0: [4, 4]}, ("0.0.00", "0.0.01"), 3, ("0.1.00",), ["0.0x2", "0.1x1"]),
        ({0: [4, 4]}, ("0.0.00",), 3, ("0.1.00", "0.1.01"), ["0.1x3"]),
    ],
)
def test_packed_fills_what_is_begun(
    shape: Servers, used: tuple[str, ...], size: int, must: tuple[str, ...], bridges: list[str]
) -> None:
    assert asked(server(shape, cross=True, policy="packed"), size, must, used) == bridges


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize(
    ("shape", "used", "size", "must", "bridges"),
    [
        ({0: [4, 4]}, (), 2, (), ["0.0x1", "0.1x1"]),
        ({0: [4, 1]}, (), 4, (), ["0.0x3", "0.1x1"]),
        ({0: [4, 4, 4]}, ("0.0.00",), 2, (), ["0.1x1", "0.2x1"]),  # where the least is used
        ({0: [4, 4, 4]}, ("0.0.00",), 5, (), ["0.0x1", "0.1x2", "0.2x2"]),
        ({0: [4, 4]}, (), 2, ("0.1.02",), ["0.0x1", "0.1x1"]),
    ],
)
def test_spread_takes_of_each_bridge(
    shape: Servers,
    used: tuple[str, ...],
    size: int,
    must: tuple[str, ...],
    bridges: list[str],
    cross: bool,  # noqa: FBT001
) -> None:
    assert asked(server(shape, cross=cross, policy="spread"), size, must, used) == bridges


def test_spread_crosses_only_where_the_pool_may() -> None:
    shape = {0: [8], 1: [4, 4, 4]}
    assert asked(server(shape, cross=True, policy="spread"), 3) == ["0.0x1", "1.0x1", "1.1x1"]
    assert asked(server(shape, policy="spread"), 3) == ["1.0x1", "1.1x1", "1.2x1"]
    assert asked(server(shape, policy="spread"), 8, ("0.0.03",)) == ["0.0x8"]
    assert asked(server(shape, policy="spread"), 17) == ["0.0x5", "1.0x4", "1.1x4", "1.2x4"]


def virtual(pf: str, count: int, numa: int = 0) -> tuple[Device, ...]:
    """Virtual functions of a network card's port."""
    return tuple(
        Device(
            DeviceId(f"{pf}.{n}"),
            PciFunction(
                Bdf(f"{pf}.{n}"), "8086", "1889", 0x02, "iavf", numa, pf=Bdf(pf), index=n,
                bridges=(Bdf(f"port of {pf[:-1]}"),),
            ),
        )
        for n in range(count)
    )  # fmt: skip


def names(known: PoolTopology, size: int, used: Iterable[str] = ()) -> tuple[str, ...]:
    chosen = ask(known, known.places.keys() - set(used), (), size)
    assert isinstance(chosen, Preferred)
    return chosen.devices


def test_of_any_device_physical_functions_are_filled_or_spared() -> None:
    devices = (*virtual("a0", 3), *virtual("a1", 3), *virtual("b0", 3))
    spec = PoolSpec("intel.com", "nic", "netDevice", preferred_allocation="packed")
    used = ("a1.0",)
    assert names(pool_topology(spec, devices), 2, used) == ("a1.1", "a1.2")
    assert names(pool_topology(spec, devices), 3, used) == ("a0.0", "a1.1", "a1.2")
    spec = PoolSpec("intel.com", "nic", "netDevice", preferred_allocation="spread")
    assert names(pool_topology(spec, devices), 2, used) == ("a0.0", "b0.0")
    assert names(pool_topology(spec, devices), 3, used) == ("a0.0", "a1.1", "b0.0")
    spec = PoolSpec("intel.com", "nic", "netDevice", preferred_allocation="topology")
    assert names(pool_topology(spec, devices), 3, used) == ("b0.0", "b0.1", "b0.2")
    assert names(pool_topology(spec, devices), 5, used) == ("a0.0", "a0.1", "a0.2", "a1.1", "a1.2")
    for spec in (
        PoolSpec("intel.com", "nic", "netDevice", preferred_allocation="none"),
        PoolSpec("intel.com", "nic", "netDevice"),
    ):
        assert names(pool_topology(spec, devices), 3, used) == ()


def test_any_device_may_not_cross_either() -> None:
    spec = PoolSpec("intel.com", "nic", "netDevice", preferred_allocation="topology")
    known = pool_topology(spec, (*virtual("a0", 20), *virtual("b0", 20, numa=1)))
    assert isinstance(ask(known, known.places, (), 21), PreferenceRefused)
    assert len(names(known, 20)) == 20


@pytest.mark.parametrize("policy", POLICIES)
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
    available: list[str], must: list[str], size: int, answer: tuple[str, ...], policy: Preferring
) -> None:
    known = server({0: [4]}, cross=True, policy=policy)
    assert ask(known, available, must, size) == Preferred(tuple(map(DeviceId, answer)))


def test_other_products_leave_the_choice_to_the_kubelet() -> None:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator")
    for devices in (
        node({0: [4]}, product="1120"),
        node({0: [2]}) + node({1: [2]}, product="1120"),
    ):
        known = pool_topology(spec, devices)
        assert ask(known, known.places, (), 3) == Preferred()


def test_the_two_functions_of_a_product_are_one_product() -> None:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator")
    devices = node({0: [2]}) + node({1: [3]}, product="1251")
    known = pool_topology(spec, devices)
    chosen = ask(known, known.places, (), 3)
    assert isinstance(chosen, Preferred)
    assert chosen.devices == ("1.0.00", "1.0.01", "1.0.02")


@pytest.mark.parametrize("policy", POLICIES)
def test_beyond_the_budget_the_answer_is_simple_and_legal(policy: Preferring) -> None:
    known = server({0: [3], 1: [4, 1], 2: [2, 2, 2]}, cross=True, policy=policy)
    assert asked(known, 4, steps=0) == ["1.0x4"]
    assert asked(known, 5, steps=0) == ["1.0x4", "1.1x1"]
    assert asked(known, 8, steps=0) == ["0.0x2", "2.0x2", "2.1x2", "2.2x2"]
    assert asked(known, 3, ("0.0.01",), steps=0) == ["0.0x3"]
    assert asked(known, 4, ("0.0.01",), steps=0) == ["0.0x3", "1.1x1"]


def test_packed_fills_what_is_begun_beyond_the_budget_too() -> None:
    known = server({0: [4, 4, 4]}, policy="packed")
    used = ("0.1.00", "0.2.00", "0.2.01")
    assert asked(known, 3, used=used, steps=0) == ["0.1x1", "0.2x2"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_huge_pool_gets_an_answer(policy: Preferring) -> None:
    known = server({numa: [3, 5] * 64 for numa in range(8)}, cross=True, policy=policy)
    assert len(known.places) == 4096
    for size in (1, 63, 65, 2000, 4095):
        chosen = ask(known, known.places, ("3.1.00",), size)
        assert isinstance(chosen, Preferred)
        assert len(set(chosen.devices)) == size
        assert "3.1.00" in chosen.devices


def test_where_trying_everything_would_take_years_the_work_is_bounded() -> None:
    known = server({numa: [3, 5] * 8 for numa in range(8)}, cross=True, policy="topology")
    spent = []
    for size in (1, 63, 65, 300, 511):
        budget = Budget(10**9)
        chosen = choose_devices(known, known.places, ("3.1.00",), size, budget)
        assert isinstance(chosen, Preferred)
        assert len(chosen.devices) == size
        spent.append(10**9 - budget.left)
    assert max(spent) < 500_000


def test_a_budget_is_spent_once() -> None:
    budget = Budget(10)
    budget.spend(7)
    with pytest.raises(BudgetError):
        budget.spend(4)
    with pytest.raises(BudgetError):
        budget.spend(1)


def test_the_budget_is_the_calls_and_not_the_containers() -> None:
    known = server({0: [4] * 4}, policy="topology")
    budget = Budget(100)
    simply = []
    for _ in range(20):
        chosen = choose_devices(known, known.places, (), 7, budget)
        assert isinstance(chosen, Preferred)
        simply.append(chosen.simply)
    assert simply == sorted(simply)
    assert not simply[0]
    assert simply[-1]

"""Where devices sit: the card's bridge is found in the hierarchy, whatever stands above it."""

from collections.abc import Callable, Sequence

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec, Preferring
from rbln_worker.core.preferred.topology import pool_topology

Chain = Callable[[int, int], Sequence[str]]
"""The bridges above an NPU, from its card's number and its own."""


def npu(bdf: str, chain: Sequence[str], product: str = "1250", pf: str | None = None) -> Device:
    function = PciFunction(
        Bdf(bdf), "1eff", product, 0x12, "rebellions", 0,
        pf=None if pf is None else Bdf(pf), bridges=tuple(map(Bdf, chain)),
    )  # fmt: skip
    return Device(DeviceId(bdf), function)


def cards(chain: Chain, product: str = "1250", shape: Sequence[int] = (4, 4, 4)) -> list[Device]:
    return [
        npu(f"{card}:{n}", chain(card, n), product) for card, size in enumerate(shape)
        for n in range(size)
    ]  # fmt: skip


def groups(devices: Sequence[Device], policy: Preferring = "") -> list[list[str]]:
    """Who shares a bridge with whom."""
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator", preferred_allocation=policy)
    found: dict[tuple[int, str], list[str]] = {}
    for device, place in pool_topology(spec, devices).places.items():
        assert place is not None
        found.setdefault(place.group_key, []).append(device)
    return sorted(found.values())


def bridges(devices: Sequence[Device]) -> set[str]:
    places = pool_topology(
        PoolSpec("rebellions.ai", "ATOM", "accelerator"), devices
    ).places.values()
    return {place.bridge for place in places if place is not None}


WHOLE = [[f"{card}:{n}" for n in range(4)] for card in range(3)]


def recorded(card: int, n: int) -> Sequence[str]:
    """As in the recorded cases: root port, a switch of the server's, the card's own."""
    return f"r{card}", f"u{card}", f"d{card}", f"cu{card}", f"cd{card}.{n}"


CHAINS: list[Chain] = [
    recorded,
    lambda card, n: (f"r{card}", "u", f"d{card}", f"cu{card}", f"cd{card}.{n}"),
    lambda card, n: ("r", "u", f"d{card}", f"cu{card}", f"cd{card}.{n}"),
    lambda card, n: (
        "r",
        "u",
        "d",
        "u2",
        f"d{card}",
        f"cu{card}",
        f"cd{card}.{n}",
    ),  # a switch more
    lambda card, n: ("r", "u", "d", "u2", "d2", "u3", f"d{card}", f"cu{card}", f"cd{card}.{n}"),
    lambda card, n: (f"r{card}", f"cu{card}", f"cd{card}.{n}"),  # a switch less
    lambda card, _: (f"r{card}", f"cu{card}"),  # and without the card's ports
    lambda card, _: (f"r{card}",),
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("product", ["1250", "1251"])
@pytest.mark.parametrize("policy", ["", "topology", "packed", "spread"])
def test_a_card_is_found_below_any_number_of_switches(
    chain: Chain, product: str, policy: Preferring
) -> None:
    assert groups(cards(chain, product), policy) == WHOLE
    assert groups(cards(chain, product, (4,)), policy) == WHOLE[:1]


@pytest.mark.parametrize("chain", CHAINS[3:7])
def test_another_products_card_is_found_likewise(chain: Chain) -> None:
    assert groups(cards(chain, "9999"), "packed") == WHOLE


def test_where_the_references_depth_applies_its_bridge_is_taken() -> None:
    assert bridges(cards(recorded)) == {"d0", "d1", "d2"}
    assert bridges(cards(recorded, shape=(1, 2, 4))) == {"d0", "d1", "d2"}
    pairs = [npu(f"0:{n}", ("r", "u", "d", "cu", f"cd{n // 2}", f"p{n}")) for n in range(4)]
    assert groups(pairs) == [["0:0", "0:1", "0:2", "0:3"]]  # and not the pairs


def test_a_pool_of_one_npu_a_card_does_not_take_the_server_for_a_card() -> None:
    shared = CHAINS[2]
    assert groups(cards(shared, shape=(1, 1, 1))) == [["0:0"], ["1:0"], ["2:0"]]
    # Of an unknown product nobody knows what a card is: together is who shares a switch.
    assert groups(cards(shared, "9999", (1, 1, 1)), "topology") == [["0:0", "1:0", "2:0"]]


def test_the_bridge_of_single_npu_cards_is_the_servers() -> None:
    switches = [
        npu(f"{switch}:{n}", (f"r{switch}", f"u{switch}", f"d{switch}.{n}"), "1220")
        for switch in range(2)
        for n in range(4)
    ]
    assert groups(switches) == [[f"{switch}:{n}" for n in range(4)] for switch in range(2)]
    assert bridges(switches) == {"u0", "u1"}


@pytest.mark.parametrize("chain", [(), ("r",), ("r", "u"), ("r", "u", "d")])
def test_a_machine_that_shows_no_shared_bridge_has_cards_of_one(chain: Sequence[str]) -> None:
    machine = [npu(f"0:{n}", [f"{bridge}{n}" for bridge in chain]) for n in range(3)]
    for policy in ("", "packed"):
        assert groups(machine, policy) == [["0:0"], ["0:1"], ["0:2"]]


def test_virtual_functions_are_one_card_with_their_physical_function() -> None:
    port = ("r0", "u0")
    functions = [npu(f"a.{n}", port, "1221", pf="a") for n in range(3)]
    other = [npu(f"b.{n}", ("r1", "u1"), "1221", pf="b") for n in range(2)]
    assert groups([*functions, *other]) == [["a.0", "a.1", "a.2"], ["b.0", "b.1"]]
    ports = [npu(f"{port}.{n}", ("r", "u"), "9999", pf=port) for port in "ab" for n in range(2)]
    assert groups(ports, "spread") == [["a.0", "a.1", "b.0", "b.1"]]


def test_a_bridge_whose_devices_are_said_to_be_on_two_numa_nodes_is_two() -> None:
    one, two = cards(recorded, shape=(2,))
    far = npu("0:9", recorded(0, 9))
    function = PciFunction(
        far.function.bdf, "1eff", "1250", 0x12, "rebellions", 1, bridges=far.function.bridges
    )
    moved = Device(far.id, function)
    assert groups([one, two, moved]) == [["0:0", "0:1"], ["0:9"]]


def test_hostile_chains_harm_nobody() -> None:
    strange: list[Chain] = [
        lambda *_: ["x"] * 2000,
        lambda card, n: [f"{card}", f"{n}", f"{card}", "", "\x00"],
        lambda _, n: [""] * n,
    ]
    for chain in strange:
        for policy in ("", "topology", "spread"):
            found = groups(cards(chain), policy)
            assert sorted(device for group in found for device in group) == sorted(
                device for card in WHOLE for device in card
            )


def test_without_a_preference_nothing_is_looked_at() -> None:
    spec = PoolSpec("rebellions.ai", "ATOM", "accelerator", preferred_allocation="none")
    assert pool_topology(spec, cards(recorded)).places == {}

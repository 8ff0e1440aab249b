"""The links of the node: a look's dump, what the kernel told meanwhile, and whose link is which."""

from typing import Literal

import msgspec
import pytest

from rbln_supervisor.core.discovery.links import (
    Links,
    LinkTable,
    carriers_of,
    interface_owners,
    switchdev_uplinks,
    with_link_state,
)
from rbln_supervisor.core.workers.desired_state import DesiredState, update_links
from rbln_worker.contract.device import (
    Bdf,
    Carrier,
    CarrierRole,
    Device,
    DeviceId,
    LinkState,
    Network,
    PciFunction,
    Subfunction,
)
from rbln_worker.contract.pool import PoolSpec
from tests.unit.inventory import P0, node, npu, pf, sf, vf

UP = LinkState("p0", up=True)
DOWN = LinkState("p0", up=False)
E0 = LinkState("e0", up=True)
change = msgspec.structs.replace


def table(*links: LinkState) -> LinkTable:
    return LinkTable({link.name: link for link in links})


def device(function: PciFunction, subfunction: Subfunction | None = None) -> Device:
    name = subfunction.name if subfunction else function.bdf
    return Device(DeviceId(name), function, subfunction)


def test_what_is_told_during_a_look_is_newer_than_its_dump() -> None:
    links = (
        Links().scan_started().on_event(2, DOWN).scan_finished({2: UP, 3: LinkState("e0", up=True)})
    )
    assert links.link_table({}).states == {"p0": DOWN, "e0": LinkState("e0", up=True)}


def test_what_was_told_before_a_look_is_not() -> None:
    links = Links().on_event(2, DOWN).scan_started().scan_finished({2: UP})
    assert links.link_table({}).states == {"p0": UP}


def test_a_link_that_left_during_a_look_is_gone() -> None:
    assert (
        Links().scan_started().on_event(2, None).scan_finished({2: UP}).link_table({}).states == {}
    )


def test_a_renamed_link_is_the_same_one() -> None:
    links = Links().scan_finished({2: UP}).on_event(2, LinkState("eth0", up=True))
    assert links.link_table({}).states.keys() == {"eth0"}


def down(name: str, role: CarrierRole, *, admin_up: bool = True) -> Carrier:
    return Carrier(name, role, up=False, admin_up=admin_up)


@pytest.mark.parametrize(
    ("one", "links", "carriers"),
    [
        (device(vf(0)), (DOWN, E0), [down("p0", "pf")]),
        (device(pf()), (DOWN,), [down("p0", "own")]),
        (device(pf(), sf(1)), (DOWN, E0), [down("p0", "pf")]),
        # No link of the PF is known here: the device's own counts.
        (device(vf(0)), (E0,), [Carrier("e0", "own", up=True)]),
        (device(vf(0)), (), []),
        (device(npu()), (UP, LinkState("", up=True)), []),
    ],
    ids=["a VF", "a PF", "an SF", "the PF's is elsewhere", "both are", "an NPU"],
)
def test_what_a_devices_traffic_passes(
    one: Device, links: tuple[LinkState, ...], carriers: list[Carrier]
) -> None:
    assert list(carriers_of(one, table(*links))) == carriers


@pytest.mark.parametrize("which", ["own", "pf"])
def test_each_of_several_interfaces_is_a_carrier(which: CarrierRole) -> None:
    """mlx4's ports, MANA's, cxgb4's: one function."""
    network = Network(interfaces=("e0", "e1"), link_type="ether")
    one = (
        device(change(pf(), network=network))
        if which == "own"
        else device(change(vf(0), pf_names=("e0", "e1")))
    )
    found = carriers_of(one, table(E0, LinkState("e1", up=False)))
    assert found == (Carrier("e0", which, up=True), down("e1", which))


def test_representors_carry_nothing_of_their_function() -> None:
    network = Network(("p0", "p0_0", "p0_1"), representors=("p0_0", "p0_1"), link_type="ether")
    links = table(DOWN, LinkState("p0_0", up=True), LinkState("p0_1", up=True))
    assert carriers_of(device(change(pf(), network=network)), links) == (down("p0", "own"),)


IPOIB = LinkState("p0", up=True, infiniband=True)


def test_ip_over_infiniband_is_no_carrier() -> None:
    assert carriers_of(device(vf(0)), table(IPOIB)) == ()
    assert carriers_of(device(pf()), table(IPOIB)) == ()
    network = Network(("p0",), link_type="infiniband", ib_ports=("mlx5_0/1",), ib_only=True)
    assert carriers_of(device(change(pf(), network=network)), table(DOWN)) == ()


def test_the_ethernet_port_of_a_vpi_card_is_one() -> None:
    network = Network(("e0", "p0"), link_type="ether", ib_ports=("mlx4_0/1",))
    found = carriers_of(device(change(pf(), network=network)), table(IPOIB, E0))
    assert found == (Carrier("e0", "own", up=True),)


@pytest.mark.parametrize(
    ("state", "pf_up", "up"),
    [("enable", True, True), ("enable", False, False), ("auto", True, False), ("", True, False)],
)
def test_a_virtual_function_whose_link_is_enabled_has_carrier(
    state: Literal["", "auto", "enable"],
    pf_up: bool,  # noqa: FBT001
    up: bool,  # noqa: FBT001
) -> None:
    one = device(change(vf(0), vf_link_state=state))
    links = table(LinkState("p0", up=False, admin_up=pf_up))
    assert carriers_of(one, links) == (Carrier("p0", "pf", up, pf_up),)


# A bond of the ports of an eswitch

BOND, P0_SLAVE, P1_SLAVE = range(10, 13)


def bonded(
    kind: str = "bond", ids: tuple[str, str] = ("cafe", "cafe"), *, up: bool = True
) -> LinkTable:
    links = Links(
        {
            BOND: LinkState("bond0", up=up, kind=kind),
            P0_SLAVE: LinkState("p0", up=False, master=BOND),
            P1_SLAVE: LinkState("p1", up=up, master=BOND),
        }
    )
    return links.link_table(
        {name: each for name, each in zip(("p0", "p1"), ids, strict=True) if each}
    )


@pytest.mark.parametrize("kind", ["bond", "team"])
@pytest.mark.parametrize("up", [True, False])
def test_a_bond_of_an_eswitchs_ports_carries_their_virtual_functions(
    kind: str,
    up: bool,  # noqa: FBT001
) -> None:
    links = bonded(kind, up=up)
    for one in (device(vf(0)), device(pf(), sf(1))):
        assert carriers_of(one, links) == (Carrier("bond0", "lag", up),)
    assert carriers_of(device(pf()), links) == (down("p0", "own"),)


@pytest.mark.parametrize(
    "links",
    [
        bonded(ids=("", "")),  # legacy mode: VFs don't fail over
        bonded(ids=("cafe", "beef")),  # two cards
        bonded(ids=("cafe", "")),
        bonded("bridge"),
        Links({P0_SLAVE: LinkState("p0", up=False, master=BOND)}).link_table({"p0": "cafe"}),
    ],
    ids=["legacy", "two cards", "one", "a bridge", "a bond elsewhere"],
)
def test_any_other_bond_does_not(links: LinkTable) -> None:
    assert carriers_of(device(vf(0)), links) == (down("p0", "pf"),)


def test_uplinks_are_those_in_switchdev_mode() -> None:
    network = Network(("p0", "p0_0"), representors=("p0_0",), switch_id="cafe")
    assert switchdev_uplinks(node(pf(), vf(0))) == {}
    assert switchdev_uplinks(node(change(pf(), network=network), vf(0))) == {"p0": "cafe"}


def test_members_of_a_bond_are_told_of() -> None:
    links = Links({P0_SLAVE: LinkState("p0", up=False, master=BOND)})
    bond = LinkState("bond0", up=True, kind="bond")
    assert links.bond_members(BOND, None, bond) == {"p0"}
    assert links.bond_members(BOND, bond, None) == {"p0"}
    assert links.bond_members(BOND, LinkState("br0", up=True, kind="bridge")) == frozenset()


def test_a_device_whose_link_is_as_before_is_the_same_value() -> None:
    one = with_link_state(device(vf(0)), table(UP))
    assert one.carriers == (Carrier("p0", "pf", up=True),)
    assert with_link_state(one, table(UP)) is one


def test_the_interfaces_of_a_node() -> None:
    found = interface_owners(
        node(pf(), vf(0, network=Network(interfaces=("v0",))), npu(), subfunctions=[sf(1)])
    )
    assert found == {"p0": {P0}, "v0": {vf(0).bdf}, "e0": {P0}}


def test_only_devices_that_hang_on_a_link_change_with_it() -> None:
    devices = {one.id: one for one in (device(npu()), device(vf(0)), device(vf(1)))}
    roster = DesiredState(PoolSpec("x.io", "a", "netDevice"), devices, generation=7)
    after = update_links(roster, table(DOWN))
    assert (after.generation, after.pool) == (8, roster.pool)
    changed = {one for one, now in after.devices.items() if now != devices[one]}
    assert changed == {device(vf(0)).id, device(vf(1)).id}
    assert update_links(after, table(DOWN)) is after


def test_a_device_that_is_gone_keeps_what_it_had() -> None:
    gone = Device(DeviceId(P0), pf(), gone="unplugged")
    roster = DesiredState(PoolSpec("x.io", "a", "netDevice"), {gone.id: gone}, generation=1)
    assert update_links(roster, table(DOWN)) is roster
    assert Bdf(gone.id) == P0

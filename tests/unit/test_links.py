"""The links of the node: a look's dump, what the kernel told meanwhile, and whose link is which."""

from rbln_supervisor.core.links import Links, carrier_of, linked, named
from rbln_supervisor.core.roster import Roster, relink
from rbln_worker.contract.device import (
    Bdf,
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


def device(function: PciFunction, subfunction: Subfunction | None = None) -> Device:
    name = subfunction.name if subfunction else function.bdf
    return Device(DeviceId(name), function, subfunction)


def test_what_is_told_during_a_look_is_newer_than_its_dump() -> None:
    links = Links().begin().hear(2, DOWN).looked({2: UP, 3: LinkState("e0", up=True)})
    assert links.by_name() == {"p0": DOWN, "e0": LinkState("e0", up=True)}


def test_what_was_told_before_a_look_is_not() -> None:
    links = Links().hear(2, DOWN).begin().looked({2: UP})
    assert links.by_name() == {"p0": UP}


def test_a_link_that_left_during_a_look_is_gone() -> None:
    assert Links().begin().hear(2, None).looked({2: UP}).by_name() == {}


def test_a_renamed_link_is_the_same_one() -> None:
    links = Links().looked({2: UP}).hear(2, LinkState("eth0", up=True))
    assert links.by_name().keys() == {"eth0"}


def test_a_virtual_function_hangs_on_its_pf() -> None:
    links = {"p0": DOWN, "e0": LinkState("e0", up=True)}
    assert carrier_of(device(vf(0)), links) == DOWN


def test_a_function_without_a_pf_hangs_on_its_own_link() -> None:
    assert carrier_of(device(pf()), {"p0": DOWN}) == DOWN


def test_a_sub_function_hangs_on_its_pf() -> None:
    assert carrier_of(device(pf(), sf(1)), {"p0": DOWN, "e0": UP}) == DOWN


def test_a_link_elsewhere_is_unknown() -> None:
    assert carrier_of(device(vf(0)), {"e0": UP}) is None


def test_an_npu_has_none() -> None:
    assert carrier_of(device(npu()), {"": UP, "p0": UP}) is None


def test_a_device_whose_link_is_as_before_is_the_same_value() -> None:
    one = linked(device(vf(0)), {"p0": UP})
    assert one.link == UP
    assert linked(one, {"p0": UP}) is one


def test_the_interfaces_of_a_node() -> None:
    found = named(
        node(pf(), vf(0, network=Network(interfaces=("v0",))), npu(), subfunctions=[sf(1)])
    )
    assert found == {"p0": {P0}, "v0": {vf(0).bdf}, "e0": {P0}}


def test_only_devices_that_hang_on_a_link_change_with_it() -> None:
    devices = {one.id: one for one in (device(npu()), device(vf(0)), device(vf(1)))}
    roster = Roster(PoolSpec("x.io", "a", "netDevice"), devices, generation=7)
    after = relink(roster, {"p0": DOWN})
    assert (after.generation, after.renewed) == (8, False)
    assert [one.function.bdf for one in after.changed] == [vf(0).bdf, vf(1).bdf]
    assert relink(after, {"p0": DOWN}) is after


def test_a_device_that_is_gone_keeps_what_it_had() -> None:
    gone = Device(DeviceId(P0), pf(), gone="unplugged")
    roster = Roster(PoolSpec("x.io", "a", "netDevice"), {gone.id: gone}, generation=1)
    assert relink(roster, {"p0": DOWN}) is roster
    assert Bdf(gone.id) == P0

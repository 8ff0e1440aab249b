"""Which links carry a default route: everything that packets pass on their way out."""

import pytest

from rbln_worker.contract.device import LinkState
from rbln_worker.host.netlink.links import (
    Link,
    Port,
    link_state,
    lower_links,
    summarize_links,
    type_name,
)

ENO1, ENO2, BOND, VLAN, BRIDGE, ENO3, VETH, PEER = range(2, 10)

LINKS = (
    Link(1, "lo", 772),
    Link(ENO1, "eno1", 1, master=BOND),
    Link(ENO2, "eno2", 1, master=BOND),
    Link(BOND, "bond0", 1, master=BRIDGE),
    Link(VLAN, "bond0.7", 1, lower=BOND),
    Link(BRIDGE, "br0", 1),
    Link(ENO3, "eno3", 32),
    Link(VETH, "veth0", 1, lower=PEER),
    Link(PEER, "veth1", 1, lower=VETH, master=BRIDGE),
)


@pytest.mark.parametrize(
    ("routed", "carriers"),
    [
        ((), set()),
        ((ENO3,), {"eno3"}),
        ((BOND,), {"bond0", "eno1", "eno2"}),
        ((VLAN,), {"bond0.7", "bond0", "eno1", "eno2"}),
        ((BRIDGE,), {"br0", "bond0", "eno1", "eno2", "veth0", "veth1"}),
        ((VETH,), {"veth0", "veth1", "br0", "bond0", "eno1", "eno2"}),
        ((ENO1,), {"eno1"}),
        ((ENO3, ENO1), {"eno3", "eno1"}),
        ((4711,), set()),
    ],
)
def test_a_default_route_is_carried_by_all_below(
    routed: tuple[int, ...], carriers: set[str]
) -> None:
    assert summarize_links(LINKS, routed).carriers == carriers


OVS_SYSTEM, BR_EX, BR_INT, REP = range(20, 24)
OVS = (
    Link(ENO1, "eno1", 1, master=OVS_SYSTEM),
    Link(ENO2, "eno2", 1, master=BOND),
    Link(BOND, "bond0", 1, master=OVS_SYSTEM, kind="bond"),
    Link(ENO3, "eno3", 1),
    Link(OVS_SYSTEM, "ovs-system", 1, kind="openvswitch"),
    Link(BR_EX, "br-ex", 1, kind="openvswitch"),
    Link(BR_INT, "br-int", 1, kind="openvswitch"),
    Link(VLAN, "br-ex.7", 1, lower=BR_EX, kind="vlan"),
    Link(BRIDGE, "br0", 1, kind="bridge"),
    Link(VETH, "veth0", 1, master=BRIDGE, kind="veth"),
)
BRIDGES = {"ovs-system", "br-ex", "br-int"}


@pytest.mark.parametrize(
    ("routed", "carriers"),
    [
        ((BR_EX,), {*BRIDGES, "eno1", "bond0", "eno2"}),
        ((VLAN,), {*BRIDGES, "br-ex.7", "eno1", "bond0", "eno2"}),
        ((OVS_SYSTEM,), {*BRIDGES, "eno1", "bond0", "eno2"}),
        ((ENO3,), {"eno3"}),
        ((BRIDGE,), {"br0", "veth0"}),
        ((), set()),
    ],
)
def test_a_route_by_an_open_vswitch_bridge_leaves_by_any_port_of_the_datapath(
    routed: tuple[int, ...], carriers: set[str]
) -> None:
    assert summarize_links(OVS, routed).carriers == carriers


def test_ports_of_eswitches() -> None:
    known = summarize_links(
        (
            Link(1, "p0", 1, switch_id="cafe", port_name="p0"),
            Link(2, "p0_0", 1, switch_id="cafe", port_name="pf0vf0"),
            Link(3, "eno1", 1),
        ),
        (),
    )
    assert known.ports == {"p0": Port("cafe", "p0"), "p0_0": Port("cafe", "pf0vf0")}
    assert known.indexes == {"p0": 1, "p0_0": 2, "eno1": 3}


def test_a_ring_has_an_end() -> None:
    ring = (Link(1, "a", 1, lower=2), Link(2, "b", 1, lower=3), Link(3, "c", 1, lower=1))
    assert lower_links(ring, (1,)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "ether"), (32, "infiniband"), (772, "loopback"), (0, "generic"), (0xFFFE, "none")],
)
def test_types_are_iproute2s(number: int, name: str) -> None:
    assert type_name(number) == name
    assert summarize_links([Link(7, "x", number)], ()).types == {"x": name}


def test_a_type_without_a_name() -> None:
    assert type_name(4711) == "unknown4711"


@pytest.mark.parametrize(
    ("operstate", "up"),
    [
        (None, True),
        (0, True),  # unknown
        (1, False),  # not present
        (2, False),  # down
        (3, False),  # lower layer down
        (4, True),  # testing
        (5, True),  # dormant
        (6, True),  # up
        (77, True),  # of a newer kernel
    ],
)
@pytest.mark.parametrize("admin_up", [True, False])
def test_a_link_is_up_unless_the_kernel_says_down(
    operstate: int | None,
    up: bool,  # noqa: FBT001
    admin_up: bool,  # noqa: FBT001
) -> None:
    link = Link(7, "eno1", 1, operstate=operstate, admin_up=admin_up)
    assert link_state(link) == LinkState("eno1", up, admin_up)
    assert summarize_links([link], ()).states == {7: LinkState("eno1", up, admin_up)}

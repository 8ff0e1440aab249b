"""Which links carry a default route: everything that packets pass on their way out."""

import pytest

from rbln_worker.contract.device import LinkState
from rbln_worker.host.links import Link, below, state, summed_up, word

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
    assert summed_up(LINKS, routed).carriers == carriers


def test_a_ring_has_an_end() -> None:
    ring = (Link(1, "a", 1, lower=2), Link(2, "b", 1, lower=3), Link(3, "c", 1, lower=1))
    assert below(ring, (1,)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "ether"), (32, "infiniband"), (772, "loopback"), (0, "generic"), (0xFFFE, "none")],
)
def test_types_are_iproute2s(number: int, name: str) -> None:
    assert word(number) == name
    assert summed_up([Link(7, "x", number)], ()).types == {"x": name}


def test_a_type_without_a_name() -> None:
    assert word(4711) == "unknown4711"


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
    assert state(link) == LinkState("eno1", up, admin_up)
    assert summed_up([link], ()).states == {7: LinkState("eno1", up, admin_up)}

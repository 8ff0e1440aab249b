"""Cards that the node's default route leaves by, however it gets there: they are not given out."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

import pytest

from rbln_supervisor.core.device_types.base import RefusalReason
from tests.e2e.kernel import net, pci
from tests.e2e.kernel.conftest import Note, explained, rescan
from tests.e2e.kernel.net import Cards, Nic
from tests.e2e.kernel.pools import CARDS, NICS, VFS
from tests.e2e.kernel.told import AWAY, HEALTHY, UNHEALTHY, Told, heard
from tests.sim.kubelet import SimKubelet
from tests.sim.system import System

pytestmark = pytest.mark.by_kernel

BOND = "link add bond1 type bond mode active-backup miimon 100"
VETH = "link add veth-a type veth peer name veth-b"


class Layout(NamedTuple):
    """Links and routes of a node; {0} and {1} are the cards' interfaces."""

    name: str
    refused: frozenset[int]
    """The cards that the default route leaves by."""
    commands: tuple[str, ...]
    """ip's, after both cards' interfaces are set up."""
    made: tuple[str, ...] = ()
    """Links that have to be deleted."""


def enslave(*cards: str, master: str) -> tuple[str, ...]:
    """Make cards ports of a link; bonds and teams take only what is set down."""
    return tuple(
        command
        for card in cards
        for command in (
            f"link set {card} down",
            f"link set {card} master {master}",
            f"link set {card} up",
        )
    )


def default_route(link: str) -> tuple[str, ...]:
    """Give a link the node's address and its default route."""
    return (
        f"link set {link} up",
        f"addr add 10.9.0.1/24 dev {link}",
        f"route add default via 10.9.0.2 dev {link}",
    )


NONE, FIRST, SECOND, BOTH = frozenset[int](), frozenset({0}), frozenset({1}), frozenset({0, 1})
BRIDGE = ("link add br1 type bridge", *enslave("{0}", master="br1"), "link set br1 up")
LAYOUTS = (
    Layout("the card", FIRST, default_route("{0}")),
    Layout(
        "a dummy beside the cards", NONE, ("link add d1 type dummy", *default_route("d1")), ("d1",)
    ),
    Layout(
        "a card, by a route that is no default route",
        NONE,
        ("addr add 10.9.0.1/24 dev {0}", "route add 10.10.0.0/16 via 10.9.0.2 dev {0}"),
    ),
    Layout(
        "another table's",
        FIRST,
        ("addr add 10.9.0.1/24 dev {0}", "route add default via 10.9.0.2 dev {0} table 100"),
    ),
    Layout(
        "IPv6",
        FIRST,
        ("addr add fd00:9::1/64 dev {0} nodad", "route add default via fd00:9::2 dev {0}"),
    ),
    Layout(
        "several paths",
        BOTH,
        (
            "addr add 10.9.0.1/24 dev {0}",
            "addr add 10.9.1.1/24 dev {1}",
            "route add default nexthop via 10.9.0.2 dev {0} nexthop via 10.9.1.2 dev {1}",
        ),
    ),
    Layout(
        "a nexthop object",
        FIRST,
        (
            "addr add 10.9.0.1/24 dev {0}",
            "nexthop add id 7 via 10.9.0.2 dev {0}",
            "route add default nhid 7",
        ),
    ),
    Layout(
        "a group of nexthop objects",
        BOTH,
        (
            "addr add 10.9.0.1/24 dev {0}",
            "addr add 10.9.1.1/24 dev {1}",
            "nexthop add id 7 via 10.9.0.2 dev {0}",
            "nexthop add id 8 via 10.9.1.2 dev {1}",
            "nexthop add id 9 group 7/8",
            "route add default nhid 9",
        ),
    ),
    Layout(
        "a VLAN",
        SECOND,
        ("link add link {1} name vlan5 type vlan id 5", *default_route("vlan5")),
        ("vlan5",),
    ),
    Layout(
        "a card beside a VLAN without a route",
        SECOND,
        ("link add link {0} name vlan5 type vlan id 5", *default_route("{1}")),
        ("vlan5",),
    ),
    Layout(
        "a macvlan",
        FIRST,
        ("link add link {0} name mac1 type macvlan mode bridge", *default_route("mac1")),
        ("mac1",),
    ),
    Layout(
        "a bond",
        BOTH,
        (BOND, *enslave("{0}", "{1}", master="bond1"), *default_route("bond1")),
        ("bond1",),
    ),
    Layout(
        "a card beside a bond",
        SECOND,
        (BOND, *enslave("{0}", master="bond1"), *default_route("{1}")),
        ("bond1",),
    ),
    Layout(
        "a VLAN on a bond",
        BOTH,
        (
            BOND,
            *enslave("{0}", "{1}", master="bond1"),
            "link set bond1 up",
            "link add link bond1 name vlan5 type vlan id 5",
            *default_route("vlan5"),
        ),
        ("vlan5", "bond1"),
    ),
    Layout(
        "a team",
        FIRST,
        ("link add team1 type team", *enslave("{0}", master="team1"), *default_route("team1")),
        ("team1",),
    ),
    Layout("a bridge", FIRST, (*BRIDGE, *default_route("br1")), ("br1",)),
    Layout(
        "a veth pair into a bridge",
        FIRST,
        (
            *BRIDGE,
            VETH,
            "link set veth-b master br1",
            "link set veth-b up",
            *default_route("veth-a"),
        ),
        ("veth-a", "br1"),
    ),
    Layout(
        "a card beside a bridge with a veth pair",
        SECOND,
        (*BRIDGE, VETH, "link set veth-b master br1", "link set veth-b up", *default_route("{1}")),
        ("veth-a", "br1"),
    ),
)


@pytest.fixture(scope="module", autouse=True)
def without_switch() -> None:
    """Take the switch's driver away: rocker has the kernel refuse routes with nexthop objects.

    It stays without: bound once more, it does not answer. test_ports.py comes before.
    """
    for address in pci.of_product(pci.QEMU_VENDOR, net.SWITCH):
        if pci.driver(address) is not None:
            pci.unbind(address)


@contextmanager
def arranged(layout: Layout, *interfaces: str) -> Iterator[None]:
    """Have a layout's links and routes for a while."""
    commands = (f"link set {name} up" for name in interfaces)
    try:
        net.iproute(*commands, *(command.format(*interfaces) for command in layout.commands))
        yield
    finally:
        net.iproute(
            *(f"link del {name}" for name in layout.made),
            *(f"link set {name} down" for name in interfaces),
            *(f"addr flush dev {name}" for name in interfaces),
            "nexthop flush",
        )


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_default_route_by(
    layout: Layout, system: System, nics: tuple[Nic, Nic], note: Note
) -> None:
    for nic in nics:
        heard(system.kubelet, NICS, nic.address, HEALTHY)
    told = Told(system.kubelet, NICS)
    with arranged(layout, *(nic.interface for nic in nics)):
        began = monotonic()
        rescan(system)
        for number, nic in enumerate(nics):
            said = explained(system, nic.interface)
            refused = number in layout.refused
            assert (said.device, said.pool) == (nic.address, None if refused else NICS)
            assert said.refusal == (RefusalReason.DEFAULT_ROUTE if refused else None)
            if refused:
                not_given_out(system.kubelet, nic.address)
            else:
                heard(system.kubelet, NICS, nic.address, HEALTHY)
        took = monotonic() - began
    rescan(system)
    for nic in nics:
        heard(system.kubelet, NICS, nic.address, HEALTHY)
    assert told.superfluous() == ()
    refused_cards = {0: "not refused", 1: "refused", 2: "both cards refused"}
    note(f"default route by {layout.name}", refused_cards[len(layout.refused)], took)


def not_given_out(kubelet: SimKubelet, address: str) -> None:
    """Wait until a card is Unhealthy, as it is for the grace time, or has left the list."""

    def healthy(kubelet: SimKubelet) -> bool:
        seen = kubelet.resource(NICS).devices.get(address)
        return seen is not None and seen.health == HEALTHY

    kubelet.wait(lambda k: not healthy(k), what=f"{address} is not given out")


def test_the_default_route_by_a_function_and_by_its_pf(
    system: System, cards: Cards, note: Note
) -> None:
    """A PF stays away from pods with the route; its virtual functions don't carry it."""
    pf = cards.quiet
    route = Layout("it", FIRST, default_route("{0}"))
    heard(system.kubelet, CARDS, pf, HEALTHY)
    began = monotonic()
    with arranged(route, net.QUIET):
        rescan(system)
        heard(system.kubelet, CARDS, pf, AWAY)
        pci.set_vfs(pf, 2, drivers=True)
        first, second = pci.vfs(pf)
        for vf in (first, second):
            heard(system.kubelet, VFS, vf, HEALTHY)
    told = Told(system.kubelet, VFS)
    with arranged(route, net.interface(first)):
        rescan(system)
        heard(system.kubelet, VFS, first, AWAY)
        assert explained(system, first).refusal is RefusalReason.DEFAULT_ROUTE
        assert explained(system, second).pool == VFS
    rescan(system)
    heard(system.kubelet, VFS, first, HEALTHY)
    (way,) = told.ways(VFS).values()
    assert way in {(HEALTHY, AWAY, HEALTHY), (HEALTHY, UNHEALTHY, AWAY, HEALTHY)}
    note(
        "default route by a PF, then by a VF of it",
        "the PF is refused, its VFs are not; that VF alone",
        monotonic() - began,
    )

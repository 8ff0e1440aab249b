"""Links of the network namespace as values: type, state, and those that carry a default route."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_worker.contract.device import LinkState

_TYPE_NAMES: Final[Mapping[int, str]] = {
    0: "generic",
    1: "ether",
    32: "infiniband",
    280: "can",
    512: "ppp",
    772: "loopback",
    774: "fddi",
    801: "ieee802.11",
    0xFFFE: "none",
}
"""Names of ARPHRD_* (linux/if_arp.h) that a network card's interface can have, as in iproute2
(lib/ll_types.c), except 0, which is "generic" in the reference."""

_INFINIBAND: Final = 32
_OPENVSWITCH: Final = "openvswitch"
"""The kind of a datapath and of each of its bridges (net/openvswitch/vport-internal_dev.c)."""

_NOT_PRESENT: Final = 1
_DOWN: Final = 2
_LOWER_LAYER_DOWN: Final = 3
"""IF_OPER_* (linux/if.h, RFC 2863); 0, unknown, is sent by drivers without carrier detection."""


class Link(msgspec.Struct, frozen=True):
    """A link as rtnetlink describes it."""

    index: int
    name: str
    type: int
    """ARPHRD_*."""
    lower: int | None = None
    """The link below it (IFLA_LINK): the parent of a VLAN or tunnel."""
    master: int | None = None
    """The link that it is enslaved to (IFLA_MASTER): a bond, a bridge."""
    operstate: int | None = None
    """IF_OPER_*; None if the message does not contain it."""
    admin_up: bool = True
    """IFF_UP."""
    kind: str = ""
    """The kind of a link without hardware (IFLA_INFO_KIND)."""
    switch_id: str = ""
    """The ID of its eswitch, if any (IFLA_PHYS_SWITCH_ID), hexadecimal as in sysfs."""
    port_name: str = ""
    """IFLA_PHYS_PORT_NAME."""
    altnames: tuple[str, ...] = ()


class Port(NamedTuple):
    """Facts of a link as a port of an eswitch; empty if it has none."""

    switch_id: str = ""
    name: str = ""


class LinkTable(msgspec.Struct, frozen=True):
    """Facts about all links; empty if they can't be listed."""

    types: Mapping[str, str] = {}
    """Types by name, in iproute2's terms."""
    carriers: frozenset[str] = frozenset()
    """Names of the links that carry a default route."""
    states: Mapping[int, LinkState] = {}
    """States by index."""
    ports: Mapping[str, Port] = {}
    """Ports by name, for links that are a port of an eswitch or have a port name."""
    indexes: Mapping[str, int] = {}
    """Indexes by name."""


def type_name(number: int) -> str:
    """Return a link type's name, as in selectors."""
    return _TYPE_NAMES.get(number, f"unknown{number}")


def link_state(link: Link) -> LinkState:
    """Return a link's state: unknown, dormant and testing count as up."""
    down = link.operstate in {_NOT_PRESENT, _DOWN, _LOWER_LAYER_DOWN}
    return LinkState(
        link.name,
        up=not down,
        admin_up=link.admin_up,
        infiniband=link.type == _INFINIBAND,
        kind=link.kind,
        master=link.master,
        altnames=link.altnames,
    )


def summarize_links(links: Iterable[Link], routed: Iterable[int]) -> LinkTable:
    """Return the facts about links; ``routed``: indexes of links that default routes name."""
    links = tuple(links)
    carriers = lower_links(links, routed)
    return LinkTable(
        types={link.name: type_name(link.type) for link in links},
        carriers=frozenset(link.name for link in links if link.index in carriers),
        states={link.index: link_state(link) for link in links},
        ports={
            link.name: Port(link.switch_id, link.port_name)
            for link in links
            if link.switch_id or link.port_name
        },
        indexes={link.name: link.index for link in links},
    )


def lower_links(links: Iterable[Link], indexes: Iterable[int]) -> frozenset[int]:
    """Return these links and all links below them, down to the hardware.

    Links below a bond or a bridge are its members; below a VLAN, its parent. The ends of a veth
    pair name each other as the link below; traffic into one end continues at the master of the
    other end. The kernel does not report here which ports a bridge of Open vSwitch has: the NICs
    are enslaved to the datapath, and the bridge is a link of its own. So all of them count as below
    any of them.
    """
    by_index = {link.index: link for link in links}
    under: defaultdict[int, list[int]] = defaultdict(list)
    ovs = [link.index for link in by_index.values() if link.kind == _OPENVSWITCH]
    for index in ovs:
        under[index] += ovs
    for link in by_index.values():
        if link.master is not None:
            under[link.master].append(link.index)
        if link.lower is not None:
            under[link.index].append(link.lower)
            peer = by_index.get(link.lower)
            if peer and peer.lower == link.index and peer.master is not None:
                under[link.index].append(peer.master)
    reached: set[int] = set()
    waiting = list(indexes)
    while waiting:
        index = waiting.pop()
        if index not in reached:
            reached.add(index)
            waiting += under[index]
    return frozenset(reached)

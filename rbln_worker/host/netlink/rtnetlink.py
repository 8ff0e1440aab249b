"""Links and default routes of this network namespace, from rtnetlink (rtnetlink(7))."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from errno import EOPNOTSUPP
from socket import AF_INET, AF_INET6, NETLINK_ROUTE, socket
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is named like a variable
from typing import Final, Literal

from rbln_worker.contract.errors import RblnError
from rbln_worker.host.netlink import codec
from rbln_worker.host.netlink.codec import NetlinkDecodeError
from rbln_worker.host.netlink.links import Link, LinkTable, summarize_links
from rbln_worker.host.sysfs import escape_name

VfLinkState = Literal["auto", "enable", "disable"]

PROTOCOL: Final = NETLINK_ROUTE
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
_RTM_GETLINK: Final = 18
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_RTM_NEWNEXTHOP: Final = 104
_RTM_GETNEXTHOP: Final = 106

_IFINFOMSG: Final = Struct("=BxHiII")
_IFF_UP: Final = 0x1
_IFLA_IFNAME: Final = 3
_IFLA_LINK: Final = 5
_IFLA_MASTER: Final = 10
_IFLA_OPERSTATE: Final = 16
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_VFINFO_LIST: Final = 22
_IFLA_VF_INFO: Final = 1
_IFLA_VF_LINK_STATE: Final = 5
_IFLA_EXT_MASK: Final = 29
_IFLA_PHYS_SWITCH_ID: Final = 36
_IFLA_LINK_NETNSID: Final = 37
_IFLA_PHYS_PORT_NAME: Final = 38
_IFLA_PROP_LIST: Final = 52
_IFLA_ALT_IFNAME: Final = 53
_VF_LINK_STATE: Final = Struct("=II")
_VF_LINK_STATES: Final[Mapping[int, VfLinkState]] = {0: "auto", 1: "enable", 2: "disable"}
"""IFLA_VF_LINK_STATE_* (linux/if_link.h)."""
_WITH_VFS: Final = 1 << 0
"""RTEXT_FILTER_VF."""
_SKIP_STATS: Final = 1 << 3
"""RTEXT_FILTER_SKIP_STATS: a driver may have to read them from its device."""

_RTMSG: Final = Struct("=BBBBBBBBI")
_RTA_OIF: Final = 4
_RTA_MULTIPATH: Final = 9
_RTA_NH_ID: Final = 30
_RTNEXTHOP: Final = Struct("=HBBi")

_NHMSG: Final = Struct("=BBBBI")
_NHA_ID: Final = 1
_NHA_GROUP: Final = 2
_NHA_OIF: Final = 5
_NEXTHOP_GRP: Final = Struct("=IBBH")

Route = tuple[frozenset[int], int | None]
"""The indexes of a route's links, and its nexthop object if it has one."""


class NetlinkError(RblnError):
    """Links can't be listed; the text has the reason."""


def read_links(*, default_routes: bool = True) -> LinkTable:
    """Return the links of this namespace, maybe with default routes; raise NetlinkError."""
    try:
        with codec.open_socket(PROTOCOL) as asked:
            links = _dump_links(asked)
            return summarize_links(links, _default_route_links(asked) if default_routes else ())
    except OSError as error:
        raise NetlinkError(f"links can't be listed: {error.strerror or error}") from error
    except NetlinkDecodeError as error:
        raise NetlinkError(f"links can't be listed: the kernel's answer has {error}") from error


def decode_link(payload: bytes) -> Link:
    """Decode a message about a link, with the facts that it has; raise NetlinkDecodeError."""
    _, kind, index, flags, _ = _unpack_header(_IFINFOMSG, payload)
    found = dict(codec.decode_attributes(payload, _IFINFOMSG.size))
    operstate = found.get(_IFLA_OPERSTATE)
    return Link(
        index=index,
        name=_text_of(found.get(_IFLA_IFNAME, b"")),
        type=kind,
        # The index may be of another namespace, and then is of no use here.
        lower=_decode_number(found.get(_IFLA_LINK)) if _IFLA_LINK_NETNSID not in found else None,
        master=_decode_number(found.get(_IFLA_MASTER)),
        operstate=operstate[0] if operstate else None,
        admin_up=bool(flags & _IFF_UP),
        kind=_text_of(
            next(codec.nested_values(found.get(_IFLA_LINKINFO, b""), _IFLA_INFO_KIND), b"")
        ),
        switch_id=found.get(_IFLA_PHYS_SWITCH_ID, b"").hex(),
        port_name=_text_of(found.get(_IFLA_PHYS_PORT_NAME, b"")),
        altnames=tuple(
            map(_text_of, codec.nested_values(found.get(_IFLA_PROP_LIST, b""), _IFLA_ALT_IFNAME))
        ),
    )


def vf_link_states(indexes: Iterable[int]) -> Mapping[int, Mapping[int, VfLinkState]]:
    """Return the link states that PFs set for virtual functions, by the PF's index and VF number.

    A PF that does not answer is left out. Each has a request of its own: an answer has about 200
    bytes for each VF.
    """
    found: dict[int, Mapping[int, VfLinkState]] = {}
    mask = codec.encode_attribute(_IFLA_EXT_MASK, _number_bytes(_WITH_VFS | _SKIP_STATS))
    with contextlib.suppress(OSError), codec.open_socket(PROTOCOL) as asked:
        for index in indexes:
            with contextlib.suppress(OSError, NetlinkDecodeError):
                request = _IFINFOMSG.pack(0, 0, index, 0, 0) + mask
                answers = codec.query_kernel(asked, _RTM_GETLINK, request, flags=codec.NLM_F_ACK)
                for answer in answers:
                    if answer.kind == RTM_NEWLINK:
                        found[index] = vf_states(answer.payload)
    return found


def vf_states(payload: bytes) -> Mapping[int, VfLinkState]:
    """Return the VFs' link states in a message, by VF number; raise NetlinkDecodeError."""
    _unpack_header(_IFINFOMSG, payload)
    states: dict[int, VfLinkState] = {}
    listed = dict(codec.decode_attributes(payload, _IFINFOMSG.size)).get(_IFLA_VFINFO_LIST, b"")
    for facts in codec.nested_values(listed, _IFLA_VF_INFO):
        for value in codec.nested_values(facts, _IFLA_VF_LINK_STATE):
            if len(value) >= _VF_LINK_STATE.size:
                number, state = _VF_LINK_STATE.unpack_from(value)
                if state in _VF_LINK_STATES:
                    states[number] = _VF_LINK_STATES[state]
    return states


def decode_route(payload: bytes) -> Route:
    """Return links and nexthop object of an IPv4 or IPv6 default route; raise NetlinkDecodeError.

    Other routes have no links.
    """
    family, to_bits, *_ = _unpack_header(_RTMSG, payload)
    # If IPv6 is off, the kernel dumps all routes of all families, including MPLS.
    if to_bits or family not in {AF_INET, AF_INET6}:
        return frozenset(), None
    found = dict(codec.decode_attributes(payload, _RTMSG.size))
    out = (_decode_number(found.get(_RTA_OIF)), *_multipath_links(found.get(_RTA_MULTIPATH, b"")))
    return frozenset(filter(None, out)), _decode_number(found.get(_RTA_NH_ID))


def decode_nexthop(payload: bytes) -> tuple[int | None, int | None, tuple[int, ...]]:
    """Return a nexthop object's ID, link, and the IDs of its group; raise NetlinkDecodeError."""
    _unpack_header(_NHMSG, payload)
    found = dict(codec.decode_attributes(payload, _NHMSG.size))
    group = found.get(_NHA_GROUP, b"")
    if len(group) % _NEXTHOP_GRP.size:
        raise NetlinkDecodeError(f"a group of nexthops of {len(group)} bytes")
    members = tuple(member for member, *_ in _NEXTHOP_GRP.iter_unpack(group))
    return _decode_number(found.get(_NHA_ID)), _decode_number(found.get(_NHA_OIF)), members


def _dump_links(asked: socket) -> tuple[Link, ...]:
    mask = codec.encode_attribute(_IFLA_EXT_MASK, _number_bytes(_SKIP_STATS))
    request = _IFINFOMSG.pack(0, 0, 0, 0, 0) + mask
    answers = codec.query_kernel(asked, _RTM_GETLINK, request, flags=codec.NLM_F_DUMP)
    return tuple(decode_link(answer.payload) for answer in answers if answer.kind == RTM_NEWLINK)


def _default_route_links(asked: socket) -> frozenset[int]:
    """Return the indexes of the links of all default routes, in every table."""
    request = _RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)
    answers = codec.query_kernel(asked, _RTM_GETROUTE, request, flags=codec.NLM_F_DUMP)
    routes = [decode_route(answer.payload) for answer in answers if answer.kind == _RTM_NEWROUTE]
    leaving = frozenset[int]().union(*(out for out, _ in routes))
    # The kernel sends an object's links with the route, unless net.ipv4.nexthop_compat_mode is 0.
    objects = {known for out, known in routes if known is not None and not out}
    return leaving | _nexthop_links(asked, objects) if objects else leaving


def _nexthop_links(asked: socket, ids: Iterable[int]) -> frozenset[int]:
    """Return the links of nexthop objects, for groups those of their members."""
    request = _NHMSG.pack(0, 0, 0, 0, 0)
    try:
        answers = codec.query_kernel(asked, _RTM_GETNEXTHOP, request, flags=codec.NLM_F_DUMP)
    except OSError as error:
        if error.errno == EOPNOTSUPP:  # before 5.3 there were none
            return frozenset()
        raise
    links: dict[int, int] = {}
    groups: dict[int, tuple[int, ...]] = {}
    for answer in answers:
        known, out, members = decode_nexthop(answer.payload)
        if answer.kind == _RTM_NEWNEXTHOP and known is not None:
            groups[known] = members
            if out is not None:
                links[known] = out
    ids = tuple(ids)
    members_too = {*ids, *(member for known in ids for member in groups.get(known, ()))}
    return frozenset(links[known] for known in members_too if known in links)


def _multipath_links(value: bytes) -> Iterator[int]:
    """Yield the links of a multipath route (struct rtnexthop, each with its attributes)."""
    offset = 0
    while offset + _RTNEXTHOP.size <= len(value):
        length, _, _, index = _RTNEXTHOP.unpack_from(value, offset)
        if not _RTNEXTHOP.size <= length <= len(value) - offset:
            raise NetlinkDecodeError(
                f"a path of {length} bytes at {offset}: {len(value) - offset} are left"
            )
        yield index
        offset += (length + 3) & ~3


def _unpack_header(header: Struct, payload: bytes) -> tuple[int, ...]:
    try:
        return header.unpack_from(payload)
    except StructError as error:
        raise NetlinkDecodeError(f"a header of {len(payload)} bytes, not {header.size}") from error


def _text_of(value: bytes) -> str:
    return escape_name(codec.decode_string(value))


def _number_bytes(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def _decode_number(value: bytes | None) -> int | None:
    return (int.from_bytes(value, sys.byteorder) or None) if value else None

"""Links and default routes of this network namespace, by rtnetlink (rtnetlink(7)).

pyroute2 speaks the protocol. Its import costs 70-100 ms and 12.7 MB, so that nothing imports this
module but the look at a node that has network pools, in a process that ends right after it. What
it costs a link is decoded here: three attributes of the sixty that a link has, which makes
it eight times as fast (33 µs a link).
"""

import sys
from collections.abc import Iterable, Iterator
from struct import unpack_from
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from rbln_worker.host.links import Link, Links, summed_up
from rbln_worker.host.sysfs import printable

_IFNAME: Final = 3
_LINK: Final = 5
_MASTER: Final = 10
_LINK_NETNSID: Final = 37
_TRIES: Final = 3
"""The kernel marks a dump during which something changed; then it is asked again."""


class NoNetlink(Exception):
    """Links can't be listed: why."""


class _Slim(ifinfmsg):
    """A link's message of which only what is needed is decoded."""

    def decode_nlas(self, offset: int) -> None:
        end = self.offset + self.length
        found: dict[int, bytes] = {}
        while offset + 4 <= end:
            length, kind = unpack_from("HH", self.data, offset)
            if kind in {_IFNAME, _LINK, _MASTER, _LINK_NETNSID}:
                found[kind] = bytes(self.data[offset + 4 : offset + length])
            offset += (max(length, 4) + 3) & ~3
        self["found"] = found


def read() -> Links:
    """The links of this namespace; NoNetlink."""
    try:
        with IPRoute() as netlink:
            netlink.marshal.msg_map[RTM_NEWLINK] = _Slim
            links = tuple(map(_link, _dump(netlink.get_links)))
            routes = _dump(lambda: netlink.get_default_routes(table=None))
    except OSError as error:
        raise NoNetlink(f"links can't be listed: {error.strerror or error}") from error
    except NetlinkError as error:
        raise NoNetlink(f"links can't be listed: {error}") from error
    return summed_up(links, _leaving_by(routes))


def _dump(ask: Any) -> tuple[Any, ...]:  # noqa: ANN401 - pyroute2 has no types
    for _ in range(_TRIES - 1):
        try:
            return tuple(ask())
        except NetlinkDumpInterrupted:
            continue
    return tuple(ask())


def _link(message: Any) -> Link:  # noqa: ANN401
    found: dict[int, bytes] = message["found"]
    return Link(
        index=message["index"],
        name=printable(found.get(_IFNAME, b"").split(b"\0")[0].decode(errors="surrogateescape")),
        type=message["ifi_type"],
        # The index may be of another namespace, and then means nothing here.
        lower=_number(found.get(_LINK)) if _LINK_NETNSID not in found else None,
        master=_number(found.get(_MASTER)),
    )


def _number(value: bytes | None) -> int | None:
    return (int.from_bytes(value, sys.byteorder) or None) if value else None


def _leaving_by(routes: Iterable[Any]) -> Iterator[int]:
    """The indexes of the links that routes leave by, one path or several."""
    for route in routes:
        for hop in (route, *(route.get_attr("RTA_MULTIPATH") or ())):
            index = hop.get_attr("RTA_OIF") if hop is route else hop["oif"]
            if index:
                yield index

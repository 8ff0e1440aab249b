"""Links that come, go, and change, as rtnetlink tells its group (rtnetlink(7))."""

from collections.abc import Iterator
from socket import AF_UNSPEC
from typing import Final

import msgspec

from rbln_worker.contract.device import LinkState
from rbln_worker.host import links, netlink, rtnetlink
from rbln_worker.host.multicast import BUFFER_BYTES, Group, Heard

_RTNLGRP_LINK: Final = 1


class LinkChange(msgspec.Struct, frozen=True):
    """A link as it is now; many messages tell of things that are not in it."""

    index: int
    state: LinkState | None
    """None: it is gone from this namespace."""


class LinkSocket:
    """Changes of the links of this network namespace."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Listen from now on; OSError where that is not possible."""
        self._group = Group(rtnetlink.PROTOCOL, _RTNLGRP_LINK, changes, buffer_bytes)

    def fileno(self) -> int:
        """See Group."""
        return self._group.fileno()

    def close(self) -> None:
        """See Group."""
        self._group.close()

    def drain(self, most: int) -> Heard[LinkChange]:
        """See Group."""
        return self._group.drain(most)


def changes(datagram: bytes) -> Iterator[LinkChange]:
    """What a datagram says; Malformed after the last message that can be read.

    A bridge repeats its ports' links with its own family, and says RTM_DELLINK of a port that has
    left it; wireless drivers tell of scans in a message that has no state (wireless/wext-core.c).
    Neither says anything of the link.
    """
    for message in netlink.messages(datagram):
        if message.kind not in {rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK}:
            continue
        link = rtnetlink.link(message.payload)
        if message.payload[0] != AF_UNSPEC:
            continue
        if message.kind == rtnetlink.RTM_DELLINK:
            yield LinkChange(link.index, None)
        elif link.operstate is not None:
            yield LinkChange(link.index, links.state(link))

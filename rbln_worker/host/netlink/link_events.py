"""Changes of links, from rtnetlink's multicast group (rtnetlink(7))."""

from collections.abc import Iterator
from socket import AF_UNSPEC
from typing import Final

import msgspec

from rbln_worker.contract.device import LinkState
from rbln_worker.host.netlink import codec, links, rtnetlink
from rbln_worker.host.netlink.multicast import BUFFER_BYTES, GroupSocket

_RTNLGRP_LINK: Final = 1


class LinkChange(msgspec.Struct, frozen=True):
    """The current state of a link; many messages change nothing that is in it."""

    index: int
    state: LinkState | None
    """None: the link was removed from this namespace."""


class LinkSocket(GroupSocket[LinkChange]):
    """Changes of the links of this network namespace."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Subscribe; raise OSError if that is not possible."""
        super().__init__(rtnetlink.PROTOCOL, _RTNLGRP_LINK, decode_changes, buffer_bytes)


def decode_changes(datagram: bytes) -> Iterator[LinkChange]:
    """Yield the changes in a datagram; raise NetlinkDecodeError after the last readable message.

    A bridge repeats its ports' links with its own family, and sends RTM_DELLINK for a port that has
    left it; wireless drivers report scans in a message without a state (wireless/wext-core.c).
    Neither is about the link's state.
    """
    for message in codec.decode_messages(datagram):
        if message.kind not in {rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK}:
            continue
        link = rtnetlink.decode_link(message.payload)
        if message.payload[0] != AF_UNSPEC:
            continue
        if message.kind == rtnetlink.RTM_DELLINK:
            yield LinkChange(link.index, None)
        elif link.operstate is not None:
            yield LinkChange(link.index, links.link_state(link))

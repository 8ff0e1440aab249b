"""The kernel's uevents: added, removed and changed devices (lib/kobject_uevent.c).

Events of PCI and auxiliary devices are sent to each network namespace of the first user namespace,
those of network interfaces to the interface's own namespace only.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.host.netlink.codec import NetlinkDecodeError
from rbln_worker.host.netlink.multicast import BUFFER_BYTES, GroupSocket

_NETLINK_KOBJECT_UEVENT: Final = 15
_KERNEL_GROUP: Final = 1
"""udev sends the same events to group 2, in a format of its own."""
MAX_FRAME_BYTES: Final = 8192
"""UEVENT_BUFFER_SIZE is 2048 for the properties; before them is a path of at most 4096 bytes."""


class Uevent(msgspec.Struct, frozen=True):
    """An event. Invalid bytes are surrogates in it (sysfs.printable escapes them)."""

    action: str
    """add, remove, change, move, bind, unbind, online, offline; newer kernels may have others."""
    devpath: str
    """The device's path below /sys, with a leading slash."""
    subsystem: str
    """Empty if the device belongs to none."""
    driver: str
    """The driver that is bound, or was until this event; empty if there is none."""
    properties: Mapping[str, str]
    """All properties, including those above."""


def parse_uevent(frame: bytes) -> Uevent | None:
    r"""Parse ``action@devpath\0KEY=VALUE\0…``; return None for other formats, such as udev's."""
    if len(frame) > MAX_FRAME_BYTES:
        return None
    head, *entries = frame.decode(errors="surrogateescape").rstrip("\0").split("\0")
    action, at, devpath = head.partition("@")
    if not (at and action.isascii() and action.isalpha() and devpath.startswith("/")):
        return None
    properties: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            return None
        properties[key] = value
    subsystem, driver = properties.get("SUBSYSTEM", ""), properties.get("DRIVER", "")
    return Uevent(action, devpath, subsystem, driver, properties)


class UeventSocket(GroupSocket[Uevent]):
    """The kernel's uevents of this network namespace."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Subscribe; raise OSError if that is not possible."""
        super().__init__(_NETLINK_KOBJECT_UEVENT, _KERNEL_GROUP, _parse_frame, buffer_bytes)


def _parse_frame(frame: bytes) -> tuple[Uevent, ...]:
    event = parse_uevent(frame)
    if event is None:
        raise NetlinkDecodeError("a uevent that is none")
    return (event,)

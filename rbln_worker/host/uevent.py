"""The kernel's uevents: devices that come, go, and change (lib/kobject_uevent.c).

Events of PCI and auxiliary devices are told in each network namespace that belongs to the first
user namespace, those of network interfaces in the interface's own namespace only.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.host.multicast import BUFFER_BYTES, Group, Heard
from rbln_worker.host.netlink import Malformed

_NETLINK_KOBJECT_UEVENT: Final = 15
_KERNEL_GROUP: Final = 1
"""udev says the same again in group 2, in a form of its own."""
FRAME_MOST: Final = 8192
"""UEVENT_BUFFER_SIZE is 2048 for the properties; before them is a path of at most 4096 bytes."""


class Uevent(msgspec.Struct, frozen=True):
    """One event. Bytes that are no text are surrogates in it (sysfs.printable writes them out)."""

    action: str
    """add, remove, change, move, bind, unbind, online, offline; newer kernels may have others."""
    devpath: str
    """The device's directory below /sys, with a slash in front."""
    subsystem: str
    """Empty where the device belongs to none."""
    driver: str
    """Of the driver that is bound, or was until this event; empty where there is none."""
    properties: Mapping[str, str]
    """All that was told, the above among them."""


def parse(frame: bytes) -> Uevent | None:
    r"""``action@devpath\0KEY=VALUE\0…``; None for everything else, udev's own form among it."""
    if len(frame) > FRAME_MOST:
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


class UeventSocket:
    """The kernel's uevents of this network namespace."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Listen from now on; OSError where that is not possible."""
        self._group = Group(_NETLINK_KOBJECT_UEVENT, _KERNEL_GROUP, _events, buffer_bytes)

    def fileno(self) -> int:
        """See Group."""
        return self._group.fileno()

    def close(self) -> None:
        """See Group."""
        self._group.close()

    def drain(self, most: int) -> Heard[Uevent]:
        """See Group."""
        return self._group.drain(most)


def _events(frame: bytes) -> tuple[Uevent, ...]:
    event = parse(frame)
    if event is None:
        raise Malformed("a uevent that is none")
    return (event,)

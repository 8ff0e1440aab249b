"""Reading sysfs: an attribute, a link's end, a directory's names, always as text to send on.

Whoever reads may wait as long as the kernel lets it: a read of sysfs can't be interrupted. So
these are called in a process or a thread that somebody else watches, never in a loop.
"""

import os
import re
from typing import Final

PCI_DEVICES: Final = "sys/bus/pci/devices"

# Domains have four digits, or more where a controller makes its own (Intel VMD: 10000:e1:00.0).
PCI_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

_ATTRIBUTE_BYTES: Final = 4096  # sysfs answers one page at most


def attribute(path: str) -> str:
    """A sysfs attribute's text without the white space around it; OSError where there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _ATTRIBUTE_BYTES).decode(errors="replace").strip()
    finally:
        os.close(fd)


def link_name(path: str, name: str) -> str:
    """The last part of where the link ``name`` of a directory leads.

    Raises:
        FileNotFoundError: There is no such entry (any more).
        ValueError: It is no link, or does not lead to a name; in words.
    """
    try:
        found = os.path.basename(os.readlink(f"{path}/{name}"))
    except FileNotFoundError:
        raise
    except OSError as error:
        # readlink says EINVAL of a file or directory that is no link
        raise ValueError(f"{name}: expected a link, {error.strerror}") from error
    if not found.isprintable():  # bytes that are no text could not be sent to a worker
        raise ValueError(f"{name}: expected a link to a name, got {found[:40]!a}")
    return found


def names(path: str) -> tuple[str, ...]:
    """What a directory holds, sorted as text; nothing where there is no directory."""
    try:
        found = os.listdir(path)
    except OSError:
        return ()
    return tuple(sorted(map(printable, found)))


def printable(name: str) -> str:
    """A name as text that can be sent: bytes that are none are written out."""
    return name if name.isprintable() else ascii(name)[1:-1]

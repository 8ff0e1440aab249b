"""Reads of sysfs: attributes, link targets, folders; always as text that can be encoded.

A read of sysfs can block for as long as the kernel does, and can't be interrupted. So these
functions are called in a process or a thread with a deadline, never in an event loop.
"""

import os
import re
from typing import Final

PCI_DEVICES: Final = "sys/bus/pci/devices"

# Domains have four digits, or more if a controller has its own (Intel VMD: 10000:e1:00.0).
PCI_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

_ATTRIBUTE_BYTES: Final = 4096  # sysfs returns at most one page


def read_attribute(path: str) -> str:
    """Return a sysfs attribute's text, stripped; raise OSError if there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _ATTRIBUTE_BYTES).decode(errors="replace").strip()
    finally:
        os.close(fd)


def read_optional(path: str) -> str:
    """Return a sysfs attribute's text, stripped; empty if there is none (EOPNOTSUPP, a NUL)."""
    try:
        return read_attribute(path)
    except (OSError, ValueError):
        return ""


def link_name(path: str, name: str) -> str:
    """Return the last component of the target of the link ``name`` in a folder.

    Raises:
        FileNotFoundError: There is no such entry (any more).
        ValueError: It is no link, or its target has no printable name.
    """
    try:
        found = os.path.basename(os.readlink(f"{path}/{name}"))
    except FileNotFoundError:
        raise
    except OSError as error:
        # readlink fails with EINVAL for a file or folder
        raise ValueError(f"{name}: expected a link, {error.strerror}") from error
    if not found.isprintable():  # invalid text could not be sent to a worker
        raise ValueError(f"{name}: expected a link to a name, got {found[:40]!a}")
    return found


def list_names(path: str) -> tuple[str, ...]:
    """Return the names in a folder, sorted; empty if there is no folder."""
    try:
        found = os.listdir(path)
    except OSError:
        return ()
    return tuple(sorted(map(escape_name, found)))


def escape_name(name: str) -> str:
    """Return a name as text that can be encoded: other bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]

"""Archives that Linux unpacks as its first root file system (early-userspace/buffer-format.rst)."""

import stat
from collections.abc import Iterable
from typing import Final, NamedTuple

_END: Final = "TRAILER!!!"


class Entry(NamedTuple):
    """A file, directory or device node of the archive."""

    name: str
    """Relative to the root; directories come before what is in them."""
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""


def directory(name: str) -> Entry:
    """A directory that everybody may read."""
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, content: bytes) -> Entry:
    """A file that everybody may run."""
    return Entry(name, stat.S_IFREG | 0o755, content)


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries in the format "newc"."""
    parts = [
        _record(number, entry)
        for number, entry in enumerate((*entries, Entry(_END, 0, b"")), start=1)
    ]
    return b"".join(parts)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links, owner, group, mtime, checksum, file_device = 1, 0, 0, 0, 0, (0, 0)
    numbers = (
        *(inode, entry.mode, owner, group, links, mtime, len(entry.content)),
        *(*file_device, *entry.device, len(name), checksum),
    )
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + name) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)

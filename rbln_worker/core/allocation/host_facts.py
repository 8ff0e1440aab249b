"""Host facts that providers need: read requests, and their results.

A provider returns its requests and evaluates the results; only rbln_worker/host/facts.py reads. A
request is a value, so that a file that many devices share (a class's folder, a common node) is read
once in a health check.
"""

from collections.abc import Mapping

import msgspec


class Text(msgspec.Struct, frozen=True):
    """The text of a file."""

    path: str
    """The path from the host's root, like all paths here."""


class FirstBytes(msgspec.Struct, frozen=True):
    """The first bytes of a file."""

    path: str
    size: int


class LinkTarget(msgspec.Struct, frozen=True):
    """The last component of a symbolic link's target."""

    path: str


class DirEntries(msgspec.Struct, frozen=True):
    """The entries of a folder, sorted."""

    path: str


class TextPerEntry(msgspec.Struct, frozen=True):
    """The text of the file with one name in each entry of a folder, by entry, sorted.

    Entries without the file are left out; a folder that does not exist has no entries.
    """

    folder: str
    file: str


class Exists(msgspec.Struct, frozen=True):
    """True if a path exists."""

    path: str


class HostFile(msgspec.Struct, frozen=True):
    """True if a path of the host is a regular file; False if the host's files are not visible."""

    path: str


class LinkPerEntry(msgspec.Struct, frozen=True):
    """The last component of the link with one name in each entry of a folder, by entry, sorted.

    Entries without the link are left out; a folder that does not exist has no entries.
    """

    folder: str
    name: str


Need = Text | FirstBytes | LinkTarget | DirEntries | TextPerEntry | Exists | HostFile | LinkPerEntry


class Unread(msgspec.Struct, frozen=True):
    """A fact that could not be read, with the reason."""

    why: str
    absent: bool = False
    """True if there is no such file (ENOENT), which for some files is a result."""


Fact = str | bytes | tuple[str, ...] | Mapping[str, str] | bool | Unread

_NOT_READ = Unread("not read")


class HostFacts:  # noqa: PLW1641 - no key of anything
    """Facts for a device's providers; a fact that was not read is Unread."""

    def __init__(self, read: Mapping[Need, Fact] | None = None) -> None:
        self._read = read or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostFacts) and self._read == other._read

    def __or__(self, more: "HostFacts") -> "HostFacts":
        return HostFacts({**self._read, **more._read})

    def all_facts(self) -> Mapping[Need, Fact]:
        """Return all facts, in the order in which they were read."""
        return self._read

    def text(self, need: Text | LinkTarget) -> str | Unread:
        """Return a file's text, or the last component of a link."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, str | Unread) else _NOT_READ

    def first_bytes(self, need: FirstBytes) -> bytes | Unread:
        """Return a file's first bytes."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, bytes | Unread) else _NOT_READ

    def dir_entries(self, need: DirEntries) -> tuple[str, ...] | Unread:
        """Return a folder's entries."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, tuple | Unread) else _NOT_READ

    def text_per_entry(self, need: TextPerEntry | LinkPerEntry) -> Mapping[str, str]:
        """Return a file's text, or the last component of a link, by entry of a folder."""
        fact = self._read.get(need)
        return fact if isinstance(fact, Mapping) else {}

    def path_exists(self, need: Exists | HostFile) -> bool:
        """Return True if the path exists; False if it was not read."""
        return self._read.get(need) is True

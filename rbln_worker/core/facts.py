"""What providers may need to know of a device's files: questions, and what was read in answer.

A provider names its needs and judges what comes; only rbln_worker/host/facts.py reads. A need is
a value, so that what many devices share (a class's folder, a common node) is read once a look.
"""

from collections.abc import Mapping

import msgspec


class Text(msgspec.Struct, frozen=True):
    """The text of a file."""

    path: str
    """From the host's root, as all paths here."""


class Head(msgspec.Struct, frozen=True):
    """The first bytes of a file."""

    path: str
    size: int


class Link(msgspec.Struct, frozen=True):
    """The last part of what a symbolic link leads to."""

    path: str


class Names(msgspec.Struct, frozen=True):
    """The entries of a folder, sorted."""

    path: str


class Texts(msgspec.Struct, frozen=True):
    """The text of the file of one name in each entry of a folder, by entry, sorted.

    Entries without it are left out, and a folder that is not there has no entries.
    """

    folder: str
    file: str


class There(msgspec.Struct, frozen=True):
    """Whether a path exists."""

    path: str


class HostFile(msgspec.Struct, frozen=True):
    """Whether a path of the host's own is a regular file; not where such files can't be seen."""

    path: str


class Links(msgspec.Struct, frozen=True):
    """The last part of the link of one name in each entry of a folder, by entry, sorted.

    Empty for an entry without it; a folder that is not there has no entries.
    """

    folder: str
    name: str


Need = Text | Head | Link | Names | Texts | There | HostFile | Links


class Missing(msgspec.Struct, frozen=True):
    """A fact that could not be read, and why."""

    why: str
    absent: bool = False
    """There is no such file (ENOENT), which for some files is an answer."""


Fact = str | bytes | tuple[str, ...] | Mapping[str, str] | bool | Missing

_NOT_READ = Missing("not read")


class Facts:  # noqa: PLW1641 - no key of anything
    """What was read for a device's providers; what was not read says so."""

    def __init__(self, read: Mapping[Need, Fact] | None = None) -> None:
        self._read = read or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self._read == other._read

    def __or__(self, more: "Facts") -> "Facts":
        return Facts({**self._read, **more._read})

    def all(self) -> Mapping[Need, Fact]:
        """What was read, in order."""
        return self._read

    def text(self, need: Text | Link) -> str | Missing:
        """A file's text, or a link's last part."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, str | Missing) else _NOT_READ

    def head(self, need: Head) -> bytes | Missing:
        """A file's first bytes."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, bytes | Missing) else _NOT_READ

    def names(self, need: Names) -> tuple[str, ...] | Missing:
        """A folder's entries."""
        fact = self._read.get(need, _NOT_READ)
        return fact if isinstance(fact, tuple | Missing) else _NOT_READ

    def texts(self, need: Texts | Links) -> Mapping[str, str]:
        """A file's text, or a link's last part, by entry of a folder."""
        fact = self._read.get(need)
        return fact if isinstance(fact, Mapping) else {}

    def there(self, need: There | HostFile) -> bool:
        """Whether something exists; not where nobody looked."""
        return self._read.get(need) is True

"""Decides about a run directory: use it, close it to other users first, or refuse it.

Anybody who can write to it could put a socket of their own in the place of ours. Volumes come open
all the same: an emptyDir on disk has mode 0777, one in memory 1777 (the root of a tmpfs), and
fsGroup adds the setgid bit and a group. The kubelet mounts the container's termination log into it
before the program starts.
"""

import stat
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

TERMINATION_LOG: Final = "termination-log"
"""The name that terminationMessagePath has in deployments/. Only the kubelet and the container
runtime open it."""
LOST_AND_FOUND: Final = "lost+found"
"""mke2fs makes it, as root's, in the root of each ext4 volume."""
_MAX_NAMES: Final = 3
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OWN_DIR: Final = "give --run-dir a folder of its own"


class Entry(msgspec.Struct, frozen=True):
    """A name in the folder, as lstat(2) describes it."""

    name: str
    mode: int
    """Type and permissions."""
    uid: int
    links: int = 1
    """Hard links; those of a directory mean nothing."""


class Folder(msgspec.Struct, frozen=True):
    """The folder, as fstat(2) describes it."""

    mode: int
    """Permissions with the setuid, setgid and sticky bits."""
    uid: int
    entries: Sequence[Entry]


class Use(Enum):
    """How the folder can be used."""

    AS_IT_IS = "as it is"
    CLOSED = "closed"
    """Once its mode is 0700."""


class Refused(msgspec.Struct, frozen=True):
    """The folder can't be used."""

    reason: str
    """The problem and its remedy, without the folder's path."""


def decide(folder: Folder, *, uid: int, names: frozenset[str], lock: str) -> Use | Refused:
    """Decide about a folder.

    Args:
        folder: What was found.
        uid: The user of this process.
        names: The names that rbln-supervisor and supervisord give to files there.
        lock: The one of them that every supervisor makes first.
    """
    if folder.uid != uid:
        return Refused(
            f"belongs to user {folder.uid}, expected {uid}, as whom this runs: {_OWN_DIR}"
        )
    foreign = [entry for entry in folder.entries if not _is_ours(entry, uid, names)]
    if not folder.mode & _OTHERS:
        return Use.AS_IT_IS
    if not foreign:
        return Use.CLOSED
    if folder.mode & _OTHERS_WRITE:
        return Refused(
            f"others may write to it (mode {folder.mode:04o}) and it is not ours alone "
            f"({_named(foreign, uid)}): {_OWN_DIR}"
        )
    # Nobody else can have chosen a name there.
    strange = [entry for entry in foreign if entry.name not in names]
    if strange and not any(entry.name == lock for entry in folder.entries):
        return Refused(f"is used for something else ({_named(strange, uid)}): {_OWN_DIR}")
    return Use.AS_IT_IS


def is_open(mode: int) -> bool:
    """Tell whether other users may write to a folder of this mode, sticky or not."""
    return bool(mode & _OTHERS_WRITE)


def _is_ours(entry: Entry, uid: int, names: frozenset[str]) -> bool:
    """Tell whether nobody but us, the kubelet or mke2fs can have put it there.

    A hard link leads to a file of ours that somebody else chose (fs.protected_hardlinks=0).
    """
    is_dir = stat.S_ISDIR(entry.mode)
    if entry.name == LOST_AND_FOUND:
        return is_dir and entry.uid == 0
    if entry.uid != uid or stat.S_ISLNK(entry.mode) or (entry.links > 1 and not is_dir):
        return False
    return entry.name in names or (entry.name == TERMINATION_LOG and stat.S_ISREG(entry.mode))


def _named(foreign: Sequence[Entry], uid: int) -> str:
    """The first foreign names, in order, with the user of each that is another's."""
    entries = sorted(foreign, key=lambda entry: entry.name)
    texts = [
        ascii(entry.name)[1:-1] + (f" of user {entry.uid}" if entry.uid != uid else "")
        for entry in entries[:_MAX_NAMES]
    ]
    rest = len(entries) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest else "")

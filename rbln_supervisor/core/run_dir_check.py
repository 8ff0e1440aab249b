"""Decides about a run directory: use it, closed to other users, or refuse it.

A user who can write to it could replace our sockets. Nevertheless volumes are open at first: an
emptyDir on disk has mode 0777, one in memory 1777 (the root of a tmpfs), and fsGroup adds the
setgid bit and a group. The kubelet mounts the container's termination log into it before the
program starts.
"""

import stat
from collections.abc import Sequence
from typing import Final

import msgspec

TERMINATION_LOG: Final = "termination-log"
"""File name of terminationMessagePath in deployments/. Only the kubelet and the container runtime
open it."""
LOST_AND_FOUND: Final = "lost+found"
"""mke2fs creates it, owned by root, in the root of each ext4 volume."""
_MAX_NAMES: Final = 3
_OWN_DIR: Final = "give --run-dir a folder of its own"


class Entry(msgspec.Struct, frozen=True):
    """A name in the folder, as lstat(2) describes it."""

    name: str
    mode: int
    """Type and permissions."""
    uid: int
    links: int = 1
    """Number of hard links; without meaning for a directory."""


class Folder(msgspec.Struct, frozen=True):
    """The folder, as fstat(2) describes it."""

    mode: int
    """Permissions with the setuid, setgid and sticky bits."""
    uid: int
    entries: Sequence[Entry]


def refusal_reason(folder: Folder, *, uid: int, names: frozenset[str], lock: str) -> str | None:
    """Return the reason not to use a folder, with a remedy and without its path.

    None if it can be used, once it is closed if ``is_open``.

    Args:
        folder: Its current state.
        uid: The user of this process.
        names: The names that rbln-supervisor and supervisord give to files there.
        lock: The one of them that every supervisor creates first.
    """
    if folder.uid != uid:
        return f"belongs to user {folder.uid}, expected {uid}, as whom this runs: {_OWN_DIR}"
    foreign = [entry for entry in folder.entries if not _is_ours(entry, uid, names)]
    if not foreign or not is_open(folder.mode):
        return None
    was_ours = any(entry.name == lock for entry in folder.entries)
    if was_ours and not others_may_write(folder.mode):  # nobody else can have created the lock
        return None
    may = "write to" if others_may_write(folder.mode) else "enter"
    return (
        f"others may {may} it (mode {folder.mode:04o}) and it is not ours alone "
        f"({_foreign_names(foreign, uid)}): {_OWN_DIR}"
    )


def is_open(mode: int) -> bool:
    """Return True if other users have any access to a folder of this mode."""
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def others_may_write(mode: int) -> bool:
    """Return True if other users may write to a folder of this mode, sticky or not."""
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH))


def _is_ours(entry: Entry, uid: int, names: frozenset[str]) -> bool:
    """Return True if only we, the kubelet or mke2fs can have created the entry.

    A hard link refers to a file of ours that another user chose (fs.protected_hardlinks=0).
    """
    is_dir = stat.S_ISDIR(entry.mode)
    if entry.name == LOST_AND_FOUND:
        return is_dir and entry.uid == 0
    if entry.uid != uid or stat.S_ISLNK(entry.mode) or (entry.links > 1 and not is_dir):
        return False
    return entry.name in names or (entry.name == TERMINATION_LOG and stat.S_ISREG(entry.mode))


def _foreign_names(foreign: Sequence[Entry], uid: int) -> str:
    """Return the first foreign names, in order, with the user of each that is not our own."""
    entries = sorted(foreign, key=lambda entry: entry.name)
    texts = [
        ascii(entry.name)[1:-1] + (f" of user {entry.uid}" if entry.uid != uid else "")
        for entry in entries[:_MAX_NAMES]
    ]
    rest = len(entries) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest else "")

"""Files that come and go in folders that may not exist yet (inotify(7))."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from inotify_simple import INotify, flags

_MASK: Final = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_TO
    | flags.MOVED_FROM
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)
ANYTHING: Final = ""
"""Stands for the name of whatever may have happened."""


class FolderWatch:
    """One inotify instance (a node has 128 for each user by default) on any number of folders.

    A folder that does not exist is waited for at its nearest ancestor that does.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        """Watch ``folders``; OSError (EMFILE) where the node has no instance left."""
        self._inotify = INotify(nonblocking=True)
        self._folders = folders
        self._watched: dict[int, Path] = {}
        self._arm()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._inotify.close()

    def fileno(self) -> int:
        """Readable when something happened."""
        return int(self._inotify.fileno())

    def drain(self) -> Mapping[Path, frozenset[str]]:
        """The folders in which something happened, with the names of it.

        The name is ANYTHING where the folder came or went itself, or where that is not known.
        """
        touched: dict[Path, set[str]] = {}
        for event in self._inotify.read(timeout=0):
            where = self._watched.get(event.wd)
            for folder in self._folders:
                if folder == where:
                    touched.setdefault(folder, set()).add(event.name or ANYTHING)
                elif where is None or _leads_to(folder, where, event.name):  # None: an overflow
                    touched.setdefault(folder, set()).add(ANYTHING)
            if where is not None and event.mask & flags.IGNORED:
                self._watched.pop(event.wd, None)
        if touched:
            self._arm()
        return {folder: frozenset(names) for folder, names in touched.items()}

    def _arm(self) -> None:
        wanted: dict[int, Path] = {}
        for folder in self._folders:
            # Between finding the ancestor and watching it the next level may have been made, so
            # look again until the nearest one stays the nearest.
            nearest = None
            while nearest != (nearest := _nearest(folder)):
                try:
                    wanted[self._inotify.add_watch(nearest, _MASK)] = nearest
                except OSError:  # gone in between: its parent is next
                    continue
        for stale in self._watched.keys() - wanted.keys():
            try:
                self._inotify.rm_watch(stale)
            except OSError:  # the kernel dropped it with its folder
                continue
        self._watched = wanted


def _leads_to(folder: Path, where: Path, name: str) -> bool:
    """Whether what happened above a folder is on the way to it; no name: to ``where`` itself."""
    return where in folder.parents and name in {"", folder.relative_to(where).parts[0]}


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.isdir(place))

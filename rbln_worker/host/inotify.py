"""A watch for files in folders that may not exist yet (inotify(7))."""

import os
from collections.abc import Mapping
from pathlib import Path
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
"""Takes the place of a name that is not known."""


class FolderWatch:
    """One inotify instance (a node has 128 for each user by default) for any number of folders.

    For a folder that does not exist, its nearest existing ancestor is watched.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        """Watch ``folders``; raise OSError (EMFILE) if the node has no instance left."""
        self._inotify = INotify(nonblocking=True)
        self._folders = folders
        self._watched: dict[int, Path] = {}
        self._add_watches()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inotify.close()

    def fileno(self) -> int:
        """Return the descriptor, which is readable after a change."""
        return int(self._inotify.fileno())

    def drain(self) -> Mapping[Path, frozenset[str]]:
        """Return the folders with changes, and the names in them that changed.

        The name is ANYTHING if the folder itself was created or removed, or if the name is unknown.
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
            self._add_watches()
        return {folder: frozenset(names) for folder, names in touched.items()}

    def _add_watches(self) -> None:
        wanted: dict[int, Path] = {}
        for folder in self._folders:
            # The next level may be created between finding the ancestor and watching it, so repeat
            # until the nearest one is stable.
            nearest = None
            while nearest != (nearest := _nearest_folder(folder)):
                try:
                    wanted[self._inotify.add_watch(nearest, _MASK)] = nearest
                except OSError:  # removed in between: its parent is next
                    continue
        for stale in self._watched.keys() - wanted.keys():
            try:
                self._inotify.rm_watch(stale)
            except OSError:  # the kernel dropped it with its folder
                continue
        self._watched = wanted


def _leads_to(folder: Path, where: Path, name: str) -> bool:
    """Return True if a change above a folder is on its path; an empty name: ``where`` itself."""
    return where in folder.parents and name in {"", folder.relative_to(where).parts[0]}


def _nearest_folder(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.isdir(place))

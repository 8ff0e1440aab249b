"""A watch for files and folders, whatever component of their paths changes (inotify(7)).

A ConfigMap is a link to ``..data/config.json``, and ``..data`` is a link that is replaced. Editors
replace the file. Folders are replaced, or created later. So every component of a path is watched:
links and missing names through their folder, folders and the file directly (if only the file is
mounted, its folder is written to outside of this mount namespace).
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

from inotify_simple import INotify, flags

ANYTHING: Final = ""
"""Takes the place of a name that is not known."""
MAX_LINKS: Final = 40
"""Maximum number of links, as in the kernel (path_resolution(7))."""
_MAX_ATTEMPTS: Final = 8
"""Attempts to watch paths that change meanwhile; the next event causes a new attempt."""

_ITSELF: Final = flags.DELETE_SELF | flags.MOVE_SELF | flags.DONT_FOLLOW
_ENTRIES: Final = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
_FILE: Final = _ITSELF | flags.CLOSE_WRITE | flags.ATTRIB

_Targets = dict[Path, frozenset[str] | None]
"""By watched path: the names in a folder that are its components; None: the folder is the path."""


class _Place(NamedTuple):
    """A folder or file that is watched."""

    path: str
    mask: int
    targets: _Targets


class PathWatch:
    """One inotify instance (a node has 128 for each user by default) for any number of paths."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        """Watch ``paths``; raise OSError (EMFILE) if the node has no instance left."""
        self._inotify = INotify(nonblocking=True)
        self._paths = paths
        self._watched: dict[int, _Place] = {}
        self.failure: OSError | None = None
        """The reason why a component is not watched."""
        self.renew_watches()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()

    def fileno(self) -> int:
        """Return the descriptor, which is readable after a change."""
        return int(self._inotify.fileno())

    def drain(self) -> Mapping[Path, frozenset[str]]:
        """Return the paths with changes; if it is a folder, with the names in it that changed.

        The name is ANYTHING if a component of the path changed, or if the name is unknown.
        """
        touched: dict[Path, set[str]] = {}
        is_moved = False
        for event in self._inotify.read(timeout=0):
            if event.name and not event.mask & _ENTRIES:
                continue  # the mode of another file in a folder on the way
            place = self._watched.get(event.wd)
            targets = place.targets if place else {}  # otherwise a watch that was removed
            if event.mask & flags.Q_OVERFLOW:  # events were lost
                targets = dict.fromkeys(self._paths)
            for path, names in targets.items():
                if names is None:
                    touched.setdefault(path, set()).add(event.name or ANYTHING)
                    is_moved |= not event.name
                elif not event.name or event.name in names:
                    touched.setdefault(path, set()).add(ANYTHING)
                    is_moved = True
            if event.mask & flags.IGNORED:
                self._watched.pop(event.wd, None)
        # What is in a folder at the end of a path is no component: most changes are of that kind.
        if is_moved:
            self.renew_watches()
        return {path: frozenset(names) for path, names in touched.items()}

    def change_paths(self, paths: tuple[Path, ...]) -> None:
        """Watch these paths from now on."""
        if paths != self._paths:
            self._paths = paths
            self.renew_watches()

    def renew_watches(self) -> None:
        """Watch all components of the paths as they are now."""
        places: Mapping[tuple[int, int], _Place] = {}
        for _ in range(_MAX_ATTEMPTS):
            before, places = places, self._find_places()
            if places == before:
                return
            watched: dict[int, _Place] = {}
            self.failure = None
            for place in places.values():
                try:
                    watched[self._inotify.add_watch(place.path, place.mask)] = place
                except (FileNotFoundError, NotADirectoryError):
                    continue  # removed meanwhile; the next iteration sees it
                except OSError as error:
                    self.failure = error
            for stale in self._watched.keys() - watched.keys():
                try:
                    self._inotify.rm_watch(stale)
                except OSError:  # the kernel removed it together with its inode
                    continue
            self._watched = watched

    def _find_places(self) -> Mapping[tuple[int, int], _Place]:
        """Return the components of all paths, by device and inode."""
        places: dict[tuple[int, int], _Place] = {}
        for path in self._paths:
            for component, mask, names in _walk_path(os.path.abspath(path)):
                try:
                    found = os.lstat(component)
                except OSError:
                    continue
                key = found.st_dev, found.st_ino
                known = places.get(key, _Place(component, mask, {}))
                others = known.targets.get(path, frozenset())
                both = None if names is None or others is None else names | others
                places[key] = _Place(known.path, known.mask | mask, {**known.targets, path: both})
        return places


def _walk_path(path: str) -> Iterator[tuple[str, int, frozenset[str] | None]]:
    """Yield the components of a path from the root, as far as they exist.

    With each: the events to watch, and the names in it that are components; None: all names.
    """
    here, links = "/", 0
    rest = path.split("/")[::-1]
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, name)
        name_in_folder = here, _ITSELF | _ENTRIES, frozenset({name})
        try:
            mode = os.lstat(step).st_mode
        except (OSError, ValueError):  # ValueError: a NUL, which no file name contains
            yield name_in_folder
            return
        if stat.S_ISLNK(mode):
            yield name_in_folder
            links += 1
            try:
                target = os.readlink(step)
            except OSError:  # replaced meanwhile
                return
            if links > MAX_LINKS:
                return
            here = "/" if target.startswith("/") else here
            rest += target.split("/")[::-1]
        elif not stat.S_ISDIR(mode):
            yield name_in_folder
            yield step, _FILE, frozenset()
            return
        elif any(rest):
            yield step, _ITSELF | flags.ATTRIB, frozenset()
            here = step
        else:
            yield step, _ITSELF | _ENTRIES, None
            return

"""Detects any change of a file's content, also by replaced links and folders (inotify(7)).

A ConfigMap is a link to ``..data/config.json``, and ``..data`` is a link that is replaced. Editors
replace the file. Folders are replaced, or created after the start of the supervisor. So every
component of the path is watched: links and missing names through their folder, folders and the file
directly (if only the file is mounted, its folder is written to outside of this mount namespace).
Without inotify the file is read at intervals.
"""

import errno
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from inotify_simple import INotify, flags

from rbln_supervisor.core.discovery.debounce import Debounce

RETRY_INTERVAL_S: Final = 10.0
"""Interval between two reads of a file that can't be watched (seconds)."""
MAX_LINKS: Final = 40
"""Maximum number of links, as in the kernel (path_resolution(7))."""
_MAX_ATTEMPTS: Final = 8
"""Attempts to watch a path that changes meanwhile; the next event causes a new attempt."""

_ITSELF: Final = (
    flags.CLOSE_WRITE | flags.ATTRIB | flags.DELETE_SELF | flags.MOVE_SELF | flags.DONT_FOLLOW
)
_NAMES: Final = _ITSELF | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
_LIMITS: Final = {
    errno.EMFILE: "no inotify instance is left, raise fs.inotify.max_user_instances",
    errno.ENOSPC: "no inotify watch is left, raise fs.inotify.max_user_watches",
}


class _WatchedPath(NamedTuple):
    """A folder or file on the path, and the names in it that are components of the path."""

    path: str
    names: frozenset[str] = frozenset()

    @property
    def event_mask(self) -> int:
        return int(_NAMES if self.names else _ITSELF)


class ConfigWatch:
    """One inotify instance for one path. ``process_events`` never waits."""

    def __init__(self, path: Path, now: float) -> None:
        """Watch ``path``. The first read is due soon, for earlier changes."""
        self._path = os.path.abspath(path)  # noqa: PTH100 - Path has nothing that keeps links
        self._watched: dict[int, _WatchedPath] = {}
        self._retry_at = math.inf
        self._debounce = Debounce().note_change(now)
        self._inotify: INotify | None = None
        self.problem: str | None = None
        """Reason why changes are detected late, with a remedy; None if they are detected at
        once."""
        self._renew_watches(now)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``process_events`` has work."""
        return (int(self._inotify.fileno()),) if self._inotify else ()

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``process_events`` (monotonic seconds)."""
        return min(self._debounce.settles_at, self._retry_at)

    def process_events(self, now: float) -> bool:
        """Handle inotify events. Return True if the file is to be read now."""
        if self._has_changed() or now >= self._retry_at:
            self._debounce = self._debounce.note_change(now)
            self._renew_watches(now)
        if now < self._debounce.settles_at:
            return False
        self._debounce = Debounce()
        self._renew_watches(now)  # a path that changed while it was read may have caused no event
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._inotify:
            self._inotify.close()
        self._inotify = None
        self._debounce, self._retry_at = Debounce(), math.inf

    def _has_changed(self) -> bool:
        """Return True if a component of the path has changed, or may have."""
        if self._inotify is None:
            return False
        happened = False
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:  # events were lost
                happened = True
            place = self._watched.get(event.wd)
            if place is None:  # a watch that was removed
                continue
            if event.mask & flags.IGNORED:
                del self._watched[event.wd]
            happened |= not event.name or event.name in place.names  # no name: the place itself
        return happened

    def _renew_watches(self, now: float) -> None:
        try:
            if self._inotify is None:
                self._inotify = INotify(nonblocking=True)
            self._watch_all(self._inotify)
        except OSError as error:
            limit = _LIMITS.get(error.errno or 0, error.strerror)
            self.problem = (
                f"changes of {self._path} are noticed within {RETRY_INTERVAL_S:g} s only "
                f"({limit}); "
                "rbln-ctl reload reads it at once"
            )
            self._retry_at = now + RETRY_INTERVAL_S
        else:
            self.problem = None
            self._retry_at = math.inf

    def _watch_all(self, inotify: INotify) -> None:
        """Watch all components of the path. Raises OSError if one can't be watched."""
        seen: Mapping[tuple[int, int], _WatchedPath] = {}
        for _ in range(_MAX_ATTEMPTS):
            before, seen = seen, _components(self._path)
            if seen == before:
                return
            watched: dict[int, _WatchedPath] = {}
            failed = None
            for place in seen.values():
                try:
                    watched[inotify.add_watch(place.path, place.event_mask)] = place
                except (FileNotFoundError, NotADirectoryError):
                    continue  # removed meanwhile; the next iteration sees it
                except OSError as error:
                    failed = error
            for stale in self._watched.keys() - watched.keys():
                try:
                    inotify.rm_watch(stale)
                except OSError:  # the kernel removed it together with its inode
                    continue
            self._watched = watched
            if failed is not None:
                raise failed


def _components(path: str) -> Mapping[tuple[int, int], _WatchedPath]:
    """Return the components of the path, by device and inode."""
    places: dict[tuple[int, int], _WatchedPath] = {}
    for place in _walk_path(path):
        try:
            found = os.lstat(place.path)
        except OSError:
            continue
        known = places.get((found.st_dev, found.st_ino), place)
        places[found.st_dev, found.st_ino] = _WatchedPath(known.path, known.names | place.names)
    return places


def _walk_path(path: str) -> Iterator[_WatchedPath]:
    """Yield the components of a path from the root, as far as they exist."""
    here, links = "/", 0
    rest = path.split("/")[::-1]
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            here = os.path.dirname(here)  # noqa: PTH120 - it contains no link any more
            continue
        step = os.path.join(here, name)  # noqa: PTH118 - strings, as from readlink
        try:
            mode = os.lstat(step).st_mode
        except (OSError, ValueError):  # ValueError: a NUL, which no file name contains
            yield _WatchedPath(here, frozenset({name}))
            return
        if stat.S_ISLNK(mode):
            yield _WatchedPath(here, frozenset({name}))
            links += 1
            try:
                target = os.readlink(step)  # noqa: PTH115
            except OSError:  # replaced meanwhile
                return
            if links > MAX_LINKS:
                return
            here = "/" if target.startswith("/") else here
            rest += target.split("/")[::-1]
        elif stat.S_ISDIR(mode) and any(rest):
            yield _WatchedPath(step)
            here = step
        else:
            yield _WatchedPath(here, frozenset({name}))
            yield _WatchedPath(step)
            return

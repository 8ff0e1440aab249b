"""Files on the host that are a pool's own, and the list of them that outlives its worker.

Files come whole (made aside, then renamed) and go only if they are still the very ones that were
put there: another instance of this plugin may have taken a name over, during an upgrade, say. What
somebody else has put in a file's place is theirs, and stays.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

_FOLDER_MODE: Final = 0o755

Identity = tuple[int, int]
"""Inode number and time of the last status change in nanoseconds: numbers are used again."""


class _Entries(msgspec.Struct, frozen=True):
    files: dict[str, Identity]
    """By path."""


_DECODER: Final = msgspec.json.Decoder(_Entries)


class Ledger:
    """The files of one pool; its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Go on with the list at ``path``, which the pool's former worker may have left."""
        self._path = path
        digest = hashlib.sha256(path.name.encode()).hexdigest()[:8]
        self._pools = f".rbln-{digest}-"
        """How files of this pool are called while they are written; then comes whose they are."""
        self._ours = f"{self._pools}{secrets.token_hex(4)}-"
        # Devices are looked at in threads, and each look may end with a file.
        self._lock = threading.Lock()
        self._files = _load(path)
        self._texts: dict[str, str] = {}
        """What was written in this life."""
        self._saved = dict(self._files)
        self.failures = 0
        """Files that could not be written."""

    def sweep(self, folders: Iterable[Path]) -> None:
        """Remove what a former writer of this pool left that was killed before its renaming.

        Another instance's worker, who lives, has his file locked (flock(2): the kernel lets go when
        a process ends).
        """
        aside = re.compile(re.escape(self._pools) + r"[0-9a-f]{8}-[0-9a-f]{16}\.tmp")
        for folder in {*folders, self._path.parent}:
            try:
                names = [name for name in os.listdir(folder) if aside.fullmatch(name)]
            except OSError:  # no folder
                continue
            for name in names:
                if not name.startswith(self._ours):
                    _remove_unlocked(folder / name)

    def keep(self, place: Path, text: str, mode: int, *, flush: bool) -> str:
        """Have a file there with this text; why that can't be, or nothing.

        The first time it is written whatever is there, so that it is ours from now on. ``flush``:
        it is on its disk before it has its name, and so is whole after a power loss, too.
        """
        name = str(place)
        if self._texts.get(name) == text and os.path.exists(place):
            return ""
        try:
            identity = self._write(place, text.encode(), mode, flush=flush)
        except OSError as error:
            self.failures += 1
            if _text(place) == text:  # of an earlier life: as good
                return ""
            return f"{place}: {error.strerror}"
        with self._lock:
            self._files[name] = identity
            self._texts[name] = text
        return ""

    def drop_others(self, kept: Iterable[Path]) -> None:
        """Remove the files of ours that are none of these."""
        names = {str(place) for place in kept}
        with self._lock:
            others = {name: self._files[name] for name in self._files.keys() - names}
        for name, identity in others.items():
            _remove(name, identity)
            with self._lock:
                if self._files.get(name) == identity:
                    del self._files[name]
                    self._texts.pop(name, None)

    def save(self) -> str:
        """Write the list down if it changed or went; why that can't be, or nothing."""
        with self._lock:
            files = dict(self._files)
        if files == self._saved and (not files or self._path.is_file()):
            return ""
        try:
            self._write(self._path, msgspec.json.encode(_Entries(files)), 0o600, flush=True)
        except OSError as error:
            self.failures += 1
            return f"{self._path}: {error.strerror}"
        self._saved = files
        return ""

    def _write(self, place: Path, content: bytes, mode: int, *, flush: bool) -> Identity:
        _make_folder(place.parent)
        # A name that nobody reads: neither runtimes (.json, .yaml) nor CNI plugins (-device.json).
        aside = place.parent / f"{self._ours}{secrets.token_hex(8)}.tmp"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with open(fd, "wb", closefd=False) as file:
                    file.write(content)
                os.fchmod(fd, mode)
                if flush:
                    os.fsync(fd)
                os.rename(aside, place)
            except OSError:
                os.unlink(aside)
                raise
            status = os.fstat(fd)  # a rename is a change of status on some file systems
        finally:
            os.close(fd)
        return status.st_ino, status.st_ctime_ns


def clear(path: Path, *, keep: Path | None = None) -> None:
    """Remove all files of a pool that nobody serves any more, and the list.

    ``keep`` is a folder whose files stay, and with them the list: somebody needs them still.
    """
    files = _load(path)
    stay = [name for name in files if keep is not None and Path(name).parent == keep]
    if stay:
        Ledger(path).drop_others(map(Path, stay))
        return
    for name, identity in files.items():
        _remove(name, identity)
    with contextlib.suppress(OSError):  # none, or out of reach: the next worker goes on with it
        path.unlink()


class FileClaim:
    """A lock on a file for as long as its writer lives (flock(2))."""

    def __init__(self) -> None:
        self._descriptor = -1

    def take(self, place: Path) -> None:
        """Lock the file that is there now, and let go of the one before."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # somebody else's, who is about to remove it
            os.close(descriptor)
            return
        before, self._descriptor = self._descriptor, descriptor
        if before >= 0:
            os.close(before)


def remove_marked(place: Path, mark: str) -> None:
    """Remove a file that begins as ours do, whether or not a list says that it is ours.

    Unless its writer lives, who has it locked (``FileClaim``).
    """
    try:
        with open(place, "rb") as file:
            marked = file.read(len(mark.encode())) == mark.encode()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if marked:
                os.unlink(place)
    except OSError:  # none, or out of reach
        return


def _remove_unlocked(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(fd)
    except OSError:  # its writer lives, or it is gone or out of reach
        return


def _load(path: Path) -> dict[str, Identity]:
    try:
        return _DECODER.decode(path.read_bytes()).files
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # no list of ours
        return {}


def _make_folder(folder: Path) -> None:
    """A folder that everybody may read, whatever our umask; those above it as well."""
    if os.path.isdir(folder):
        return
    _make_folder(folder.parent)
    try:
        os.mkdir(folder)
        os.chmod(folder, _FOLDER_MODE)
    except FileExistsError:  # another pool's worker made it; or it is none, as the next step says
        return


def _remove(name: str, identity: Identity) -> None:
    try:
        status = os.lstat(name)
        if (status.st_ino, status.st_ctime_ns) == identity:
            os.unlink(name)
    except (OSError, ValueError):  # gone already, or out of reach; or no path of ours (a NUL)
        return


def _text(place: Path) -> str | None:
    try:
        return place.read_text(errors="replace")
    except OSError:
        return None

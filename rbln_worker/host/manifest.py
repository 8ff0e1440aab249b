"""Files of a pool on the host, and a list of them that outlives its worker.

Files are written aside, then renamed, so they are complete. They are removed only if they are still
the same files: another instance of this plugin may have replaced one, such as during an upgrade. A
file that another program has put in its place stays.
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
"""Inode number and time of the last status change in nanoseconds: inode numbers are reused."""


_DECODER: Final = msgspec.json.Decoder(dict[str, Identity])
"""Identities by path."""


class FileManifest:
    """The files of one pool; methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Continue the list at ``path``, which may be that of the pool's previous worker."""
        self._path = path
        digest = hashlib.sha256(path.name.encode()).hexdigest()[:8]
        self._pools = f".rbln-{digest}-"
        """The prefix of temporary files of this pool; the ID of the worker follows."""
        self._ours = f"{self._pools}{secrets.token_hex(4)}-"
        # Health checks run in threads, and each may write a file at its end.
        self._lock = threading.Lock()
        self._files = _load_list(path)
        self._texts: dict[str, str] = {}
        """Texts that were written in this life, by path."""
        self._saved = dict(self._files)
        self.failures = 0
        """Failed writes."""

    def remove_stale(self, folders: Iterable[Path]) -> None:
        """Remove temporary files of this pool's dead workers, killed before the renaming.

        A living worker of another instance has its file locked (flock(2): the kernel releases the
        lock when a process ends).
        """
        aside = re.compile(re.escape(self._pools) + r"[0-9a-f]{8}-[0-9a-f]{16}\.tmp")
        for folder in {*folders, self._path.parent}:
            try:
                names = [name for name in os.listdir(folder) if aside.fullmatch(name)]
            except OSError:  # the folder does not exist
                continue
            for name in names:
                if not name.startswith(self._ours):
                    remove_unlocked(folder / name)

    def write_file(self, place: Path, text: str, mode: int, *, flush: bool) -> str:
        """Write a file unless it has this text already; return the error, or nothing.

        The first write replaces any file, so that the file belongs to the pool from then on.
        ``flush``: the content is on the disk before the file gets its name, and so is complete
        after a power loss, too.
        """
        name = str(place)
        if self._texts.get(name) == text and os.path.exists(place):
            return ""
        try:
            identity = self._write_aside(place, text.encode(), mode, flush=flush)
        except OSError as error:
            self.failures += 1
            if _read_text(place) == text:  # of an earlier life: as good
                return ""
            return f"{place}: {error.strerror}"
        with self._lock:
            self._files[name] = identity
            self._texts[name] = text
        return ""

    def drop_others(self, kept: Iterable[Path]) -> None:
        """Remove the files of the pool except these."""
        names = {str(place) for place in kept}
        with self._lock:
            others = {name: self._files[name] for name in self._files.keys() - names}
        for name, identity in others.items():
            _remove_if_same(name, identity)
            with self._lock:
                if self._files.get(name) == identity:
                    del self._files[name]
                    self._texts.pop(name, None)

    def save_list(self) -> str:
        """Save the list if it has changed or was removed; return the error, or nothing."""
        with self._lock:
            files = dict(self._files)
        if files == self._saved and (not files or self._path.is_file()):
            return ""
        try:
            self._write_aside(self._path, msgspec.json.encode(files), 0o600, flush=True)
        except OSError as error:
            self.failures += 1
            return f"{self._path}: {error.strerror}"
        self._saved = files
        return ""

    def _write_aside(self, place: Path, content: bytes, mode: int, *, flush: bool) -> Identity:
        _make_folder(place.parent)
        # Ignored by container runtimes (.json, .yaml) and CNI plugins (-device.json).
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
            status = os.fstat(fd)  # a rename changes the status on some file systems
        finally:
            os.close(fd)
        return status.st_ino, status.st_ctime_ns


def remove_files(path: Path, *, keep: Path | None = None) -> None:
    """Remove all files of a pool that is not served any more, and the list.

    ``write_file`` is a folder whose files stay, and with them the list: they are still in use.
    """
    files = _load_list(path)
    stay = [name for name in files if keep is not None and Path(name).parent == keep]
    if stay:
        FileManifest(path).drop_others(map(Path, stay))
        return
    for name, identity in files.items():
        _remove_if_same(name, identity)
    with contextlib.suppress(OSError):  # missing or unreachable: the next worker uses it
        path.unlink()


class FileClaim:
    """A lock on a file for as long as its writer lives (flock(2))."""

    def __init__(self) -> None:
        self._descriptor = -1

    def lock_file(self, place: Path) -> None:
        """Lock the current file, and release the lock on the previous one."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # locked by another process that is about to remove it
            os.close(descriptor)
            return
        before, self._descriptor = self._descriptor, descriptor
        if before >= 0:
            os.close(before)


def remove_unlocked(path: Path, mark: str = "") -> None:
    """Remove a file that begins with the plugin's mark, unless a living writer has it locked.

    A writer locks its files while it writes them, and by a ``FileClaim``.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            expected = mark.encode()
            if os.read(fd, len(expected)) == expected:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            os.close(fd)
    except OSError:  # its writer lives, or it is missing or unreachable
        return


def _load_list(path: Path) -> dict[str, Identity]:
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # no valid list
        return {}


def _make_folder(folder: Path) -> None:
    """Create a folder that all users can read, whatever the umask, and its parents as well."""
    if os.path.isdir(folder):
        return
    _make_folder(folder.parent)
    try:
        os.mkdir(folder)
        os.chmod(folder, _FOLDER_MODE)
    except FileExistsError:  # another worker made it, or it is a file: see the next step
        return


def _remove_if_same(name: str, identity: Identity) -> None:
    try:
        status = os.lstat(name)
        if (status.st_ino, status.st_ctime_ns) == identity:
            os.unlink(name)
    except (OSError, ValueError):  # removed already, unreachable, or an invalid path (a NUL)
        return


def _read_text(place: Path) -> str | None:
    try:
        return place.read_text(errors="replace")
    except OSError:
        return None

"""The run directory: for one supervisor, and accessible only to its user.

A user who can write there could replace our sockets by others, and so decide what containers get.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from rbln_supervisor import options
from rbln_supervisor.config import accepted
from rbln_supervisor.core.control.protocol import CONTROL_SOCKET
from rbln_supervisor.core.run_dir_check import (
    Entry,
    Folder,
    is_open,
    others_may_write,
    refusal_reason,
)
from rbln_supervisor.events import agent_files, log
from rbln_worker.channel.dealer import WORKERS_SOCKET
from rbln_worker.contract.errors import RblnError
from rbln_worker.process.event_file import PREVIOUS_SUFFIX
from rbln_worker.process.replace_file import ASIDE_SUFFIX

POOLS: Final = "pools"
_LOCK: Final = "supervisor.lock"
_OURS: Final = frozenset(
    {_LOCK, POOLS, "supervisord.pid"}
    | {CONTROL_SOCKET, WORKERS_SOCKET}
    | {log.FILE, f"{log.FILE}{PREVIOUS_SUFFIX}", options.FILE, f"{options.FILE}{ASIDE_SUFFIX}"}
    | {accepted.FILE, f"{accepted.FILE}{ASIDE_SUFFIX}"}
    | agent_files.FILES
)
"""All names that we create there (supervisord.pid by conf/supervisord.conf)."""
_MODE: Final = 0o700
_MIN_FREE_BYTES: Final = 64 * 1024
"""Room for the lock, the options and the first events; sockets take none."""

_LOCK_TIMEOUT_S: Final = 2.0
"""Time for a predecessor to end (seconds); a discovery that it has just forked closes the lock at
once."""
_LOCK_RETRY_INTERVAL_S: Final = 0.02

_WRITABLE: Final = "--run-dir has to be a folder that can be written to"
_FULL: Final = (
    "No space left on device: free some there, or give the volume more (sizeLimit of an emptyDir)"
)
_NO_FOLDER: Final = f"a file, expected a folder: remove it; {_WRITABLE}"
_EXPLAINED: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: f"a part of this path is {_NO_FOLDER}",
    errno.ELOOP: "a link, expected a file or folder of our own: remove it",
}


class RunDirError(RblnError):
    """Error: the run directory can't be used; the text has the reason and a remedy."""


@contextlib.contextmanager
def lock_run_dir(path: Path) -> Iterator[None]:
    """Lock a run directory for this supervisor (flock(2): the kernel unlocks it when we end).

    Raises:
        RunDirError: It can't be created, is open to others, or is locked by another supervisor.
    """
    prepare_run_dir(path)
    lock = path / _LOCK
    with contextlib.ExitStack() as closing:
        with _explain_errors(lock):
            # No link: its target would be truncated.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(lock, flags, 0o600)
            closing.callback(os.close, fd)
        if not _take_lock(fd):
            holder = os.read(fd, 16).decode(errors="replace").strip()
            raise RunDirError(
                f"another rbln-supervisor (pid {holder or 'unknown'}) serves from {path}: stop it, "
                "or give this one a --run-dir of its own"
            )
        with _explain_errors(lock):
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        yield


def prepare_run_dir(path: Path) -> None:
    """Create the folder and its folder for pools, for this user only. Raises RunDirError."""
    with _explain_errors(path):
        is_link = path.is_symlink()
        if is_link and _others_may_replace(path):
            raise RunDirError(
                f"{path}: a link that others may replace (they may write to {path.parent}): give "
                "--run-dir the folder itself"
            )
        path.mkdir(mode=_MODE, parents=True, exist_ok=True)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(path, flags if is_link else flags | os.O_NOFOLLOW)
        try:
            if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            _close_folder(path, fd)
        finally:
            os.close(fd)
    pools = path / POOLS
    with _explain_errors(pools):
        if pools.is_symlink():
            raise RunDirError(f"{pools}: a link, expected a folder: remove it")
        pools.mkdir(mode=_MODE, exist_ok=True)
        _set_mode(pools, _MODE)
        if not os.access(path, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def require_room(path: Path) -> None:
    """Refuse a full volume before anything is started in it. Raises RunDirError.

    A supervisor that restarts beside living workers does not check this: it serves with the
    existing files, and writes its own when there is room again.
    """
    with _explain_errors(path):
        volume = os.statvfs(path)
        # A tmpfs without a limit reports no blocks.
        if volume.f_blocks and volume.f_bavail * volume.f_frsize < _MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _close_folder(path: Path, fd: int) -> None:
    """Close the folder to others if it is for us alone. Raises RunDirError if it must not be used.

    The second reading detects what others put there before it was closed. /tmp or another folder
    that was given by mistake keeps its mode.
    """
    found = _read_folder(fd)
    _require_usable(path, found)
    if not is_open(found.mode):
        return
    _set_mode(fd, _MODE)
    try:
        now = _read_folder(fd)
        _require_usable(path, Folder(found.mode, now.uid, now.entries))
    except RunDirError:
        _set_mode(fd, found.mode)
        raise
    if others_may_write(now.mode):
        raise RunDirError(
            f"{path}: others may write to it (mode {now.mode:04o}) and chmod 0700 changes nothing: "
            "give --run-dir a folder of another file system"
        )


def _set_mode(folder: Path | int, mode: int) -> None:
    with contextlib.suppress(PermissionError):  # some file systems keep no modes
        os.chmod(folder, mode)  # noqa: PTH101 - also takes a descriptor


def _require_usable(path: Path, folder: Folder) -> None:
    reason = refusal_reason(folder, uid=os.geteuid(), names=_OURS, lock=_LOCK)
    if reason:
        raise RunDirError(f"{path}: {reason}")


def _read_folder(fd: int) -> Folder:
    found = os.fstat(fd)
    entries: list[Entry] = []
    with os.scandir(fd) as names:
        for name in names:
            try:
                seen = name.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            entries.append(Entry(name.name, seen.st_mode, seen.st_uid, seen.st_nlink))
    return Folder(stat.S_IMODE(found.st_mode), found.st_uid, entries)


def _others_may_replace(path: Path) -> bool:
    parent = path.parent.stat()
    return others_may_write(parent.st_mode) or parent.st_uid not in {0, os.geteuid()}


@contextlib.contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into RunDirError: path, problem and remedy in one line."""
    try:
        yield
    except OSError as error:
        reason = _EXPLAINED.get(error.errno or 0) or f"{error.strerror}: {_WRITABLE}"
        named = error.filename if isinstance(error.filename, str | Path) else path
        raise RunDirError(f"{named}: {reason}") from error


def _take_lock(fd: int) -> bool:
    """Lock the file; return False if a predecessor did not unlock it in time."""
    end = monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= end:
                return False
            # flock(2) has no deadline, and no descriptor reports that a lock is free.
            sleep(_LOCK_RETRY_INTERVAL_S)
        else:
            return True

"""The run directory: one supervisor's, and open to nobody but its user.

Whoever can write there could put his own socket in the place of ours, and tell workers what to give
to containers.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final, TextIO

from rbln_supervisor import accepted, journal, options
from rbln_supervisor.core.commands import CONTROL_SOCKET
from rbln_worker.link import WORKERS_SOCKET
from rbln_worker.stderr import STDERR_SOCKET

POOLS: Final = "pools"
_LOCK: Final = "supervisor.lock"
_OURS: Final = frozenset(
    {_LOCK, POOLS, "supervisord.pid"}
    | {CONTROL_SOCKET, WORKERS_SOCKET, STDERR_SOCKET}
    | {"control.hidden", "workers.hidden"}  # router.py
    | {journal.FILE, journal.FORMER, options.FILE, options.ASIDE}
    | {accepted.FILE, accepted.ASIDE}
)
"""All that we put there (supervisord.pid by conf/supervisord.conf)."""
_MODE: Final = 0o700

_LOCK_WITHIN_S: Final = 2.0
"""What a predecessor has to end; a look at the node that it had just forked lets go at once."""
_LOCK_AGAIN_S: Final = 0.02


class NotUsable(Exception):
    """The run directory can't be used; the text says why, and what to do."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only supervisor of a run directory (flock(2): the kernel lets go at our end).

    Raises:
        NotUsable: it can't be made, is open to others, or another supervisor has it.
    """
    try:
        prepare(path)
        # No link: what it leads to would be made empty.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(path / _LOCK, flags, 0o600), "r+")
    except OSError as error:
        raise NotUsable(
            f"{error.filename or path}: {error.strerror}: --run-dir has to be a folder that "
            "can be written to"
        ) from error
    with file:
        if not _take(file):
            raise NotUsable(
                f"another rbln-supervisor (pid {file.read(16).strip() or 'unknown'}) serves from "
                f"{path}: stop it, or give this one a --run-dir of its own"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def prepare(path: Path) -> None:
    """Have the folder there, for us alone; NotUsable, or OSError where that can't be."""
    path.mkdir(mode=_MODE, parents=True, exist_ok=True)
    _close(path, everything_is_ours=frozenset(os.listdir(path)) <= _OURS)  # noqa: PTH208
    pools = path / POOLS
    pools.mkdir(mode=_MODE, exist_ok=True)
    if pools.is_symlink():
        raise NotUsable(f"{pools}: a link, expected a folder: remove it")
    _close(pools, everything_is_ours=True)


def _close(path: Path, *, everything_is_ours: bool) -> None:
    """Close a folder to others, if it is for us alone; NotUsable where they may write to it.

    A volume of Kubernetes (emptyDir) comes with mode 0777, and is empty. /tmp or /run, which
    somebody gave by mistake, stay as they are.
    """
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise NotUsable(
            f"{path}: belongs to user {found.st_uid}, expected {os.geteuid()}, as whom this runs: "
            "give --run-dir a folder of its own"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 and everything_is_ours and not mode & stat.S_ISVTX:
        path.chmod(_MODE)
    elif mode & 0o022:
        raise NotUsable(
            f"{path}: others may write to it (mode {mode:04o}) and it is not ours alone: "
            f"give --run-dir a folder of its own, or chmod 0700 {path}"
        )


def _take(file: TextIO) -> bool:
    """Lock the file, or say that a predecessor did not let go of it in time."""
    end = monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= end:
                return False
            # flock(2) has no deadline, and no descriptor tells when a lock is free.
            sleep(_LOCK_AGAIN_S)
        else:
            return True

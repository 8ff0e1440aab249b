"""Folders, sockets and locks."""

import fcntl
import os
import socket as sockets
from pathlib import Path
from typing import Final

from rbln_supervisor.core.commands import CONTROL_SOCKET, HIDDEN
from rbln_supervisor.core.diagnosis.facts import Folder, Kubelet, RunDir, Socket
from rbln_supervisor.options import Options, OptionsUnknown, load
from rbln_worker.boot import FOLDERS
from rbln_worker.contract.pool import pool_of
from rbln_worker.link import WORKERS_SOCKET

_LOCK_BYTES: Final = 64
_CONNECT_WITHIN_S: Final = 2.0


def options(run_dir: Path) -> tuple[Options, str]:
    """The last supervisor's options; the defaults, and why, where they are not known."""
    try:
        return load(run_dir), ""
    except OptionsUnknown as error:
        return Options(run_dir=run_dir), str(error)


def run_dir(path: Path, why: str) -> RunDir:
    """The supervisor's folder."""
    locked, pid = _lock(path / "supervisor.lock")
    control = path / CONTROL_SOCKET
    hidden = control.with_suffix(HIDDEN)  # of one that died it may lie there for ever
    serving: dict[str, int] = {}
    for lock in sorted((path / "pools").glob("*.lock")):
        held, holder = _lock(lock)
        if held:
            serving[pool_of(lock.stem)] = holder or 0
    return RunDir(
        folder=folder(path),
        control=socket(control),
        workers=socket(path / WORKERS_SOCKET),
        pid=pid,
        locked=locked,
        options=why,
        refusing=hidden.exists() and not control.exists(),
        serving=serving,
    )


def kubelet(options: Options) -> Kubelet:
    """The kubelet's folders."""
    home = options.kubelet_folder
    plugins = home / FOLDERS["kubelet-sock"]
    return Kubelet(
        folder=folder(home),
        plugins=folder(plugins),
        registry=folder(home / FOLDERS["plugin-watcher"]),
        socket=socket(plugins / "kubelet.sock"),
        pod_resources=socket(home / "pod-resources" / "kubelet.sock"),
        registration=options.registration,
    )


def folder(path: Path) -> Folder:
    """A folder as this user finds it."""
    try:
        os.listdir(path)  # noqa: PTH208 - one call
    except (OSError, ValueError) as error:
        there = isinstance(error, PermissionError)
        return Folder(str(path), there=there, why=_why(error))
    # access(2) also says that a file system is mounted read-only.
    writable = os.access(path, os.W_OK | os.X_OK)
    return Folder(str(path), there=True, writable=writable, why="" if writable else _closed(path))


def socket(path: Path) -> Socket:
    """A unix socket, and whether somebody listens; nobody's connection waits for long."""
    if not path.exists():
        return Socket(str(path), why="no such file")
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as knocking:
        knocking.settimeout(_CONNECT_WITHIN_S)
        try:
            knocking.connect(os.fspath(path))
        except (OSError, ValueError) as error:
            return Socket(str(path), there=True, why=_why(error))
    return Socket(str(path), there=True, answers=True)


def _lock(path: Path) -> tuple[bool, int | None]:
    """Whether somebody holds a lock file, and who wrote himself into it.

    The lock is tried for some microseconds (flock(2)); whoever starts just then tries again.
    """
    try:
        with path.open("r", errors="replace") as file:
            words = file.read(_LOCK_BYTES).split()
            pid = int(words[0]) if words and words[0].isascii() and words[0].isdigit() else None
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, pid
            return False, pid
    except OSError:
        return False, None


def _closed(path: Path) -> str:
    status = path.stat()
    if os.geteuid() == 0:
        return "the file system there is read-only"
    return f"it belongs to uid {status.st_uid}, mode {status.st_mode & 0o7777:04o}"


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)

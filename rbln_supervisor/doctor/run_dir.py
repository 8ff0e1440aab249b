"""The supervisor's run directory: its locks, its sockets, and who serves."""

import fcntl
import os
import socket as sockets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rbln_supervisor.core.control.protocol import CONTROL_SOCKET
from rbln_supervisor.options import Options
from rbln_worker.channel.dealer import WORKERS_SOCKET
from rbln_worker.contract.pool import pool_from_stem
from rbln_worker.contract.problem import Code, Problem, make_problem

SUPERVISOR: Final = "rbln-supervisor"
_LOCK_BYTES: Final = 64
_CONNECT_TIMEOUT_S: Final = 2.0


def living_processes(path: Path) -> Mapping[str, int]:
    """Return the pids of a run directory's living processes; 0: unknown.

    A worker has the name of its pool; the supervisor that of its program.
    """
    pids = {SUPERVISOR: read_lock(path / "supervisor.lock")}
    for lock in sorted((path / "pools").glob("*.lock")):
        pids[pool_from_stem(lock.stem)] = read_lock(lock)
    return {name: pid for name, pid in pids.items() if pid is not None}


def check_run_dir(options: Options, unreachable: str | None) -> Iterator[Problem]:
    """Check the run directory, and find out why a supervisor does not answer."""
    path = options.run_dir
    text = "the supervisor has its sockets and locks there"
    yield from check_place(path, folder_error(path), text, Code.RUN_DIR_MISSING)
    if unreachable is not None and path.is_dir():
        yield _supervisor_problem(path, unreachable)


def _supervisor_problem(path: Path, unreachable: str) -> Problem:
    evidence = [unreachable]
    for place in (path / CONTROL_SOCKET, path / WORKERS_SOCKET):
        error = socket_error(place)
        evidence += [f"{place}: {error}"] if error else []
    living = dict(living_processes(path))
    pid = living.pop(SUPERVISOR, None)
    if pid is not None:
        text = "a supervisor lives (it holds its lock) and does not answer"
        hint = (
            f"cat /proc/{pid}/stack /proc/{pid}/wchan; then kill -9 {pid}: it is started again, "
            "and adopts its workers"
        )
        return make_problem(Code.SUPERVISOR_HANGS, text, f"pid {pid}", tuple(evidence), hint=hint)
    evidence += [f"workers serve on without it: {', '.join(living)}"] if living else []
    return make_problem(
        Code.SUPERVISOR_DOWN, "the supervisor does not run", SUPERVISOR, tuple(evidence)
    )


def check_place(
    path: Path,
    error: str,
    text: str,
    missing: Code,
    unusable: Code = Code.FOLDER_NOT_WRITABLE,
    hint: str = "",
) -> Iterator[Problem]:
    """Yield a problem if a folder or socket is missing or unusable.

    Args:
        path: the folder or socket.
        error: the reason why it is unusable; empty if it is not.
        text: what it is needed for.
        missing: the code if it does not exist.
        unusable: the code if it exists.
        hint: begin of the next step.
    """
    if error:
        code = unusable if path.exists() else missing
        yield make_problem(code, text, str(path), (error,), hint=hint + code.hint)


def folder_error(path: Path) -> str:
    """Return the reason why a path is not a writable folder; empty if it is."""
    try:
        os.listdir(path)  # noqa: PTH208 - one call
        # access(2) also detects a file system that is mounted read-only.
        if os.access(path, os.W_OK | os.X_OK):
            return ""
        if os.geteuid() == 0:
            return "the file system there is read-only"
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return f"owner {status.st_uid}:{status.st_gid}, mode {status.st_mode & 0o7777:o}"


def socket_error(path: Path) -> str:
    """Return the reason why nobody listens on a unix socket; empty if a process does."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_TIMEOUT_S)
        try:
            client.connect(os.fspath(path))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def read_lock(path: Path) -> int | None:
    """Return the pid in a lock file that is locked, 0 if it has none; None if it is not locked.

    The attempt takes the lock for some microseconds (flock(2)); a program that starts just then
    tries again.
    """
    try:
        with path.open("r", errors="replace") as file:
            first = next(iter(file.read(_LOCK_BYTES).split()), "")
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(first) if first.isascii() and first.isdigit() else 0
    except OSError:
        pass
    return None

"""The supervisor's run directory: its locks, its sockets, and who serves."""

import fcntl
import os
import socket as sockets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from rbln_supervisor.core.control.protocol import CONTROL_SOCKET
from rbln_worker.channel.dealer import WORKERS_SOCKET
from rbln_worker.contract.pool import PoolName, pool_from_stem
from rbln_worker.contract.problem import Code, Problem, make_problem

_LOCK_BYTES: Final = 64
_CONNECT_TIMEOUT_S: Final = 2.0


class LivingProcesses(NamedTuple):
    """The living processes of a run directory."""

    is_locked: bool
    """True if the supervisor's lock is held."""
    supervisor: int | None
    """Pid in the supervisor's lock file."""
    workers: Mapping[PoolName, int]
    """Pids of workers that hold their pool's lock, by pool; 0: unknown."""

    @property
    def pids(self) -> frozenset[int]:
        """Pids of the living processes."""
        supervisor = (self.supervisor,) if self.is_locked else ()
        return frozenset(pid for pid in (*supervisor, *self.workers.values()) if pid)


def living_processes(path: Path) -> LivingProcesses:
    """Return the living processes of a run directory."""
    workers = {}
    for lock in sorted((path / "pools").glob("*.lock")):
        is_locked, pid = read_lock(lock)
        if is_locked:
            workers[pool_from_stem(lock.stem)] = pid or 0
    return LivingProcesses(*read_lock(path / "supervisor.lock"), workers)


def check_run_dir(path: Path, unreachable: str | None) -> Iterator[Problem]:
    """Check the run directory, and find out why a supervisor does not answer."""
    text = "the supervisor has its sockets and locks there"
    yield from check_place(path, folder_error(path), text, Code.RUN_DIR_MISSING)
    if unreachable is not None and path.is_dir():
        yield _supervisor_problem(path, unreachable)


def _supervisor_problem(path: Path, unreachable: str) -> Problem:
    control = path / CONTROL_SOCKET
    evidence = [unreachable]
    for place in (control, path / WORKERS_SOCKET):
        error = socket_error(place)
        evidence += [f"{place}: {error}"] if error else []
    living = living_processes(path)
    pid = living.supervisor
    if living.is_locked:
        return make_problem(
            Code.SUPERVISOR_HANGS,
            "a supervisor lives (it holds its lock) and does not answer",
            f"pid {pid}" if pid else "rbln-supervisor",
            tuple(evidence),
            hint=f"cat /proc/{pid}/stack /proc/{pid}/wchan; then kill -9 {pid}: it is started "
            "again, and adopts its workers",
        )
    evidence.append(f"nobody holds supervisor.lock{f' (last pid: {pid})' if pid else ''}")
    if living.workers:
        evidence.append(f"workers serve on without it: {', '.join(living.workers)}")
    return make_problem(
        Code.SUPERVISOR_DOWN, "the supervisor does not run", "rbln-supervisor", tuple(evidence)
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
    except (OSError, ValueError) as error:
        return _error_text(error)
    return f"owner {status.st_uid}:{status.st_gid}, mode {status.st_mode & 0o7777:o}"


def socket_error(path: Path) -> str:
    """Return the reason why nobody listens on a unix socket; empty if a process does."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_TIMEOUT_S)
        try:
            client.connect(os.fspath(path))
        except FileNotFoundError:
            return "no such file"
        except (OSError, ValueError) as error:
            return _error_text(error)
    return ""


def read_lock(path: Path) -> tuple[bool, int | None]:
    """Return True if a lock file is locked, and the pid in it.

    The attempt takes the lock for some microseconds (flock(2)); a program that starts just then
    tries again.
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


def _error_text(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)

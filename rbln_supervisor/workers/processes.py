"""The only module that forks: it spawns, signals and reaps processes."""

import contextlib
import fcntl
import gc
import os
import signal
import warnings
from collections.abc import Callable
from errno import EINVAL, ENOENT, ESRCH
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec
from inotify_simple import INotify

from rbln_worker import main
from rbln_worker.contract import exits
from rbln_worker.spec import WorkerSpec

_LOCK_BYTES: Final = 128
"""Maximum size of a lock file: a pid, an incarnation and a driver's name are shorter."""
_NO_PROCESS: Final = frozenset({ESRCH, EINVAL, ENOENT})
"""Errors of pidfd_open(2) for a pid that has no process, is 0, or is a thread's (differs by
kernel)."""


class ChildProcess(msgspec.Struct, frozen=True):
    """A process with its pidfd: unlike a pid, it cannot be reused for another process."""

    pid: int
    pidfd: int
    """Becomes readable when the process has ended (pidfd_open(2))."""
    ours: bool
    """True if it is a child of this process, so that its exit status can be read."""


def preload() -> None:
    """Prepare for forks: import what workers use, so that they share its memory pages.

    ``rbln_worker.main`` imports gRPC and everything else; this process uses no gRPC object.
    """
    # gRPC's core reads this at its first use, in a worker: its messages on closed connections are
    # noise.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    with contextlib.suppress(OSError):  # fs.inotify.max_user_instances: its users report it
        INotify().close()  # looks up the C library, once for all processes
    gc.collect()
    gc.freeze()  # otherwise a collection in a worker would write to every object's page


def spawn_worker(spec: WorkerSpec) -> ChildProcess:
    """Fork a worker for a pool. Raises OSError if there can be no process."""
    return spawn(lambda: main.run_worker(spec))


def spawn(body: Callable[[], int], *, keep: int | None = None) -> ChildProcess:
    """Fork a process that runs ``body`` and exits with its result. Raises OSError.

    The process has no open descriptors except the standard ones and ``keep``.

    Signals are blocked around the fork: a child that still has our handlers and wake-up descriptor
    would lose a signal meant for it, or pass it to this process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns if there is any thread. The existing ones belong to libzmq, hold
            # none of our locks and are not used in the child, which makes its own context.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _child_main(body, before, keep)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return ChildProcess(pid, os.pidfd_open(pid), ours=True)
    except OSError:  # no descriptor left: the process could not be watched, so it is killed
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def send(life: ChildProcess, number: signal.Signals) -> None:
    """Send a signal to a process. Do nothing if it has ended meanwhile."""
    try:
        signal.pidfd_send_signal(life.pidfd, number)
    except ProcessLookupError:
        return


class ExitStatus(NamedTuple):
    """The end of a process."""

    how: str
    """Text for people."""
    cause: str
    """Label: ``SIGKILL``, ``exit-70``, ``unknown``."""
    cpu_s: float = 0.0
    """CPU seconds, with those of processes that it waited for."""


def reap(life: ChildProcess) -> ExitStatus:
    """Reap an ended process, close its pidfd, and return how it ended."""
    os.close(life.pidfd)
    if not life.ours:
        return ExitStatus("ended; it was forked by an earlier supervisor", "unknown")
    _, status, used = os.wait4(life.pid, 0)
    cpu_s = used.ru_utime + used.ru_stime
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        name = signal.Signals(-code).name
        return ExitStatus(f"killed by {name}", name, cpu_s)
    return ExitStatus(f"exit code {code}{exits.exit_meaning(code)}", f"exit-{code}", cpu_s)


def has_ended(life: ChildProcess) -> bool:
    """Return True if a child of this process has ended, and waits to be reaped."""
    return os.waitid(os.P_PIDFD, life.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(life: ChildProcess) -> None:
    """Kill a child process, and all processes of its group if it leads one.

    While the process is not reaped, its pid cannot be reused.
    """
    send(life, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it has not become a group leader yet
        os.killpg(life.pid, signal.SIGKILL)


def reap_group(life: ChildProcess) -> ExitStatus:
    """Reap an ended process as ``reap`` does, after killing what is left of its group."""
    kill_group(life)
    return reap(life)


class OrphanWorker(msgspec.Struct, frozen=True):
    """An orphan: a living worker that another supervisor forked."""

    process: ChildProcess
    incarnation: str
    """From the pool's lock file; the worker's hello has the same."""
    driver: str = ""
    """Its DRA driver; empty: it serves the device-plugin API."""


def lock_holder(path: Path) -> OrphanWorker | None:
    """Return the worker that holds a pool's lock file; None if it is not locked.

    Raises:
        PermissionError: The holder cannot be seen from here (another PID namespace), or has not
            written its pid yet.
    """
    try:
        file = path.open("r+", errors="replace")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _named_worker(file.read(_LOCK_BYTES), os.fstat(file.fileno()))
            if found is not None:
                return found
            raise PermissionError(
                f"{path} is locked by a process that can't be seen from here"
            ) from None
    return None


def _named_worker(text: str, file: os.stat_result) -> OrphanWorker | None:
    """Return the worker that a lock file names, if that process has the file open."""
    words = text.split()
    if len(words) not in {2, 3} or not (words[0].isascii() and words[0].isdigit()):
        return None
    pid = int(words[0])
    try:
        pidfd = os.pidfd_open(pid)
    except OverflowError:
        return None
    except OSError as error:
        if error.errno in _NO_PROCESS:
            return None
        raise
    # The check follows pidfd_open: the pidfd then stands for the process that is checked.
    if _has_open(pid, file):
        return OrphanWorker(ChildProcess(pid, pidfd, ours=_is_child(pidfd)), *words[1:])
    os.close(pidfd)
    return None


def _is_child(pidfd: int) -> bool:
    """Return True for a child. A supervisor keeps its children over execve(2)."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap_leftovers() -> None:
    """Reap children that ended while this process became another program (execve(2))."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _has_open(pid: int, file: os.stat_result) -> bool:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for link in links:
        try:
            found = link.stat()
        except OSError:  # closed meanwhile
            continue
        if (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino):
            return True
    return False


def _child_main(
    body: Callable[[], int], mask: set[int | signal.Signals], keep: int | None
) -> NoReturn:
    code: int = exits.Exit.CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Sockets, pidfds, locks and the inotify instance belong to the parent.
        _close_all_but_standard(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = body()
    finally:
        os._exit(code)  # no exit handlers: they belong to the parent


def _close_all_but_standard(keep: int | None) -> None:
    # Listed, not counted: the limit of a container may be a billion descriptors.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - Path would open one more
        if int(name) > 2 and int(name) != keep:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))

"""The one place that forks: workers are born, signalled and reaped here."""

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
from rbln_worker.boot import Boot
from rbln_worker.contract import exits

_LOCK_BYTES: Final = 64
"""More than a pid and an incarnation have."""
_NO_PROCESS: Final = frozenset({ESRCH, EINVAL, ENOENT})
"""What pidfd_open(2) says of a number that is nobody's, is 0, or is a thread's (by kernel)."""


class Life(msgspec.Struct, frozen=True):
    """A worker process, by a descriptor that can't be reused for another one as a pid can."""

    pid: int
    pidfd: int
    """Readable once the process has ended (pidfd_open(2))."""
    ours: bool
    """A child of this process, so that its exit status can be read."""


def warm() -> None:
    """Get ready to fork: what workers share is imported by now, and stays in shared pages.

    ``rbln_worker.main`` brings gRPC and all else with it; nothing of gRPC is used in this process.
    """
    # Read by gRPC's core at its first use, in a worker: its notes on ended connections say nothing.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    with contextlib.suppress(OSError):  # fs.inotify.max_user_instances: who needs one says so
        INotify().close()  # finds the C library, once for all
    gc.collect()
    gc.freeze()  # or a collection in a worker would write to every object's page


def worker(boot: Boot) -> Life:
    """Fork a pool's worker; OSError if that can't be."""
    return spawn(lambda: main.run(boot))


def spawn(body: Callable[[], int], *, keep: int | None = None) -> Life:
    """Fork a process that runs ``body`` and exits with what it returns; OSError if it can't be.

    It has no open descriptors but the standard ones, and the one to keep.

    Signals are blocked around the fork: a child that still has our handlers and wake-up descriptor
    would swallow a signal meant for it, or send it to us.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of any thread. Those there are belong to libzmq, hold none of our
            # locks and are not used in the child, which makes a context of its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _live(body, before, keep)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return Life(pid, os.pidfd_open(pid), ours=True)
    except OSError:  # no descriptor left: a process that nobody could watch may not live
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def send(life: Life, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        signal.pidfd_send_signal(life.pidfd, number)
    except ProcessLookupError:
        return


class End(NamedTuple):
    """How a process ended."""

    how: str
    """In words."""
    cause: str
    """As a label: ``SIGKILL``, ``exit-70``, ``unknown``."""


def reap(life: Life) -> End:
    """How an ended process ended; its descriptor is closed."""
    os.close(life.pidfd)
    if not life.ours:
        return End("ended; it was forked by an earlier supervisor", "unknown")
    _, status = os.waitpid(life.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        name = signal.Signals(-code).name
        return End(f"killed by {name}", name)
    return End(f"exit code {code}{exits.meaning(code)}", f"exit-{code}")


def has_ended(life: Life) -> bool:
    """Whether a process of ours has ended; it waits to be reaped then."""
    return os.waitid(os.P_PIDFD, life.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(life: Life) -> None:
    """End a process of ours and all in its group, if it made itself the leader of one.

    As long as the process is not reaped, its number means nobody else.
    """
    send(life, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it has not come to make one
        os.killpg(life.pid, signal.SIGKILL)


def reap_group(life: Life) -> End:
    """Reap an ended process as ``reap`` does, after the end of all that is left in its group."""
    kill_group(life)
    return reap(life)


class Stranger(msgspec.Struct, frozen=True):
    """A living worker that somebody else forked."""

    life: Life
    incarnation: str
    """As its pool's lock file says; its hello says the same."""


def lock_holder(path: Path) -> Stranger | None:
    """The worker that holds a pool's lock file; None where nobody does.

    Raises:
        PermissionError: somebody does who can't be seen from here (another PID namespace), or who
            has not written yet who he is.
    """
    try:
        file = path.open("r+", errors="replace")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _stranger(file.read(_LOCK_BYTES), os.fstat(file.fileno()))
            if found is not None:
                return found
            raise PermissionError(
                f"{path} is locked by a process that can't be seen from here"
            ) from None
    return None


def is_unlocked(path: Path) -> bool:
    """Whether nobody holds a pool's lock file, seen or unseen."""
    try:
        met = lock_holder(path)
    except OSError:
        return False
    if met is not None:
        os.close(met.life.pidfd)
    return met is None


def _stranger(text: str, file: os.stat_result) -> Stranger | None:
    """Who a lock file says that holds it, if he does."""
    words = text.split()
    if len(words) != 2 or not (words[0].isascii() and words[0].isdigit()):
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
    # Only now: the descriptor stands for the process of which this is asked, whatever comes.
    if _has_open(pid, file):
        return Stranger(Life(pid, pidfd, ours=_is_child(pidfd)), words[1])
    os.close(pidfd)
    return None


def _is_child(pidfd: int) -> bool:
    """A supervisor that has become another program by execve(2) keeps its children."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap_leftovers() -> None:
    """Reap what ended while this process became another program (execve(2))."""
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


def _live(body: Callable[[], int], mask: set[int | signal.Signals], keep: int | None) -> NoReturn:
    code: int = exits.Exit.CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Sockets, pidfds, locks and the inotify instance are the parent's.
        _close_all_but_standard(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = body()
    finally:
        os._exit(code)  # no exit handlers: they are the parent's


def _close_all_but_standard(keep: int | None) -> None:
    # Listed, not counted up: a container's limit may be a billion descriptors.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - Path would open one more
        if int(name) > 2 and int(name) != keep:
            with contextlib.suppress(OSError):  # the listing's own descriptor
                os.close(int(name))

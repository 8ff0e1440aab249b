"""Resource limits of a process, and its priority for the OOM killer."""

import mmap
import resource
from pathlib import Path
from typing import Final

OOM_POINTS: Final = 100
"""Difference between the OOM scores of a worker and its supervisor, which is killed later.

Each point counts as a thousandth of the memory that ran out (proc(5), oom_score_adj): a container's
limit, or the node's. 100 of a container with 256 MiB are 25 MiB: more than the difference between a
supervisor and a normal worker. It is not higher because a worker frees only about 10 MiB: on a
node, pods that are meant to be killed first should be.
"""
_OPEN_FILES: Final = 65536
"""More than ever needed; connections to our sockets can use up the usual 1024."""
_MAX_OOM: Final = 1000
_STACK_BYTES: Final = 8 << 20
"""The default of RLIMIT_STACK, which is the size of threads' stacks."""
_OOM: Final = Path("/proc/self/oom_score_adj")


def disable_core_dumps() -> None:
    """Disable core dumps: they would contain values that are meant for containers.

    A limit of 0 stops only files. The kernel treats 1 as "not even to a program" (core_pattern with
    a ``|``; fs/coredump.c), and no core dump is that short. PR_SET_DUMPABLE would do it as well,
    but would hide /proc/<pid>/fd from the supervisor, which finds the holder of a lock by it.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def raise_open_files() -> None:
    """Raise the limit of open files as far as allowed (getrlimit(2)); forks inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def raise_oom_score() -> str:
    """Raise the OOM score above that of the parent process; return the error, or nothing."""
    try:
        points = min(_MAX_OOM, int(_OOM.read_text()) + OOM_POINTS)
        _OOM.write_text(f"{points}\n")  # raising needs no privilege
    except (OSError, ValueError) as error:
        return f"{_OOM}: {error}"
    return ""


def bound_memory(most: int) -> None:
    """Limit the memory of the process, in bytes; 0: no limit.

    RLIMIT_DATA counts private writable memory (setrlimit(2), Linux 4.7), including stacks of
    threads with their full 8 MiB. RLIMIT_AS would also count memory that is only reserved.
    """
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most and not 0 <= hard <= most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def can_start_threads(threads: int) -> bool:
    """Return True if there is memory for the stacks of this number of threads."""
    size = threads * _STACK_BYTES
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True

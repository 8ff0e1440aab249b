"""What a process may use up, and that it is the one to go where memory runs out."""

import mmap
import resource
from pathlib import Path
from typing import Final

OOM_POINTS: Final = 100
"""How much sooner the kernel's OOM killer takes a worker than its supervisor.

Each point counts as a thousandth of the memory that ran out (proc(5), oom_score_adj), a container's
limit or the node's. 100 of a container with 256 MiB are 25 MiB: more than a supervisor has beyond a
worker that behaves. It is not more, because on a node a worker that dies gives back some 10 MiB:
it should not go before pods that were made to go.
"""
_OOM_MOST: Final = 1000
_STACK_BYTES: Final = 8 << 20
"""The default of RLIMIT_STACK, by which stacks of threads are made."""
_OOM: Final = Path("/proc/self/oom_score_adj")


def leave_no_image() -> None:
    """Have the kernel write no memory image at a crash: it would hold what containers are told.

    A limit of 0 hinders only files. The kernel takes 1 as "not even to a program" (core_pattern
    with a ``|``; fs/coredump.c), and no image is that short. PR_SET_DUMPABLE would do it as well,
    and hide /proc/<pid>/fd from the supervisor, by which it knows who holds a lock.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def go_first() -> str:
    """Be taken by the OOM killer before the process that forked this one; why not, or nothing."""
    try:
        points = min(_OOM_MOST, int(_OOM.read_text()) + OOM_POINTS)
        _OOM.write_text(f"{points}\n")  # raising needs no privilege
    except (OSError, ValueError) as error:
        return f"{_OOM}: {error}"
    return ""


def bound_memory(most: int) -> None:
    """Let the process have so many bytes of memory of its own; 0: as many as it likes.

    RLIMIT_DATA counts what it may write to and shares with nobody (setrlimit(2), Linux 4.7), stacks
    of its threads at their full 8 MiB, too. RLIMIT_AS would count what is only reserved.
    """
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most and not 0 <= hard <= most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def is_room_for(threads: int) -> bool:
    """Whether the process may have as much memory more as the stacks of so many threads take."""
    size = threads * _STACK_BYTES
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True

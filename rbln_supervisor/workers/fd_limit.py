"""Detects a shortage of file descriptors: libzmq aborts a process that can't accept a connection.

libzmq 4.3.5, ipc_listener.cpp: EMFILE is not among the errors that it expects of accept(2). So
connections are accepted only while enough descriptors are free; otherwise they wait or fail in the
client.
"""

import os
import resource
from typing import Final

MIN_FREE_FDS: Final = 256
"""Number of free descriptors below which no connection is accepted (a quarter of a low limit).

libzmq accepts connections in its own thread: some 50 in the millisecond that one loop iteration may
last. It reports them, and the next iteration follows at once. A fork needs three descriptors."""
WANTED: Final = 65536
"""Desired limit, more than ever needed; connections to our sockets can use up the usual 1024."""


def raise_limit() -> None:
    """Raise the limit as far as allowed (getrlimit(2)); forked processes inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fd_shortage(before: str) -> str:
    """Return why no connection should be accepted, or ``""``; ``before``: the last result."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.eventfd(0, os.EFD_CLOEXEC)
    except OSError as error:
        return (
            f"no connection is taken: {error.strerror} (a limit of {limit}); raise its LimitNOFILE"
        )
    os.close(lowest)
    few = min(MIN_FREE_FDS, limit // 4)
    least = few + few // 2 if before else few
    if limit == resource.RLIM_INFINITY or limit - lowest >= least:
        return ""
    return before or (
        f"no connection is taken: {lowest} of {limit} descriptors are open; raise its LimitNOFILE"
    )

"""Whether there are descriptors left: libzmq aborts the process that can't take a connection in.

(4.3.5, ipc_listener.cpp: EMFILE is none of the errors that it expects of accept(2).) So connections
are taken only while some are left, and wait or fail at whoever makes them.
"""

import os
import resource
from typing import Final

FEW: Final = 256
"""From here on no connection is taken (from a quarter on, where the limit is low).

libzmq takes connections in a thread of its own: some 50 in the millisecond that a turn of the loop
may last. It says so, and the next turn comes at once. A fork needs three.
"""
WANTED: Final = 65536
"""As many as nobody needs; the usual 1024 can be used up by connections to our sockets."""


def raise_limit() -> None:
    """Have as many as there may be (getrlimit(2)); those that are forked have them, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage(before: str) -> str:
    """Why no connection should be taken, or nothing; ``before``: what it said the last time."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.eventfd(0, os.EFD_CLOEXEC)
    except OSError as error:
        return (
            f"no connection is taken: {error.strerror} (a limit of {limit}); raise its LimitNOFILE"
        )
    os.close(lowest)
    few = min(FEW, limit // 4)
    least = few + few // 2 if before else few
    if limit == resource.RLIM_INFINITY or limit - lowest >= least:
        return ""
    return before or (
        f"no connection is taken: {lowest} of {limit} descriptors are open; raise its LimitNOFILE"
    )

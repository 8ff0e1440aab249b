"""Borrowing a supervisor's standard error: an adopted worker's own was a pipe to one that is gone.

The descriptor comes by a unix socket (unix(7), SCM_RIGHTS). /proc/<pid>/fd would not do: it is open
to those only that have every capability of that process (ptrace(2)), and a worker has none.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

STDERR_SOCKET: Final = "stderr.sock"
"""In the run directory."""


def borrow(run_dir: Path, take: Callable[[int], None]) -> None:
    """Ask for it; ``take`` gets the descriptor for the time of the call, if one comes.

    Nothing waits: the running event loop hears the answer.
    """
    try:
        asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    except OSError:  # no descriptor is left for it, and what there is has to do
        return
    try:
        asked.connect(str(run_dir / STDERR_SOCKET))
    except OSError:  # nobody lends one, and what there is has to do
        asked.close()
        return
    asyncio.get_running_loop().add_reader(asked, _answered, asked, take)


def _answered(asked: socket.socket, take: Callable[[int], None]) -> None:
    asyncio.get_running_loop().remove_reader(asked)
    with asked:
        try:
            _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        except OSError:  # whoever was asked is gone
            return
    for number, descriptor in enumerate(descriptors):
        if number == 0:
            take(descriptor)
        os.close(descriptor)

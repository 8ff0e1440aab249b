"""Standard error from the supervisor: an adopted worker's own was a pipe to an earlier one.

The descriptor comes through a unix socket (unix(7), SCM_RIGHTS). /proc/<pid>/fd is closed to
processes with fewer capabilities than that process (ptrace(2)), and a worker has none.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

STDERR_SOCKET: Final = "stderr.sock"
"""The file name in the run directory."""


def borrow_stderr(run_dir: Path, take: Callable[[int], None]) -> None:
    """Request the descriptor; ``take`` is called with it, if it comes, and must not keep it.

    This does not wait: the running event loop receives the answer.
    """
    try:
        asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    except OSError:  # no descriptor is left: the current standard error stays
        return
    try:
        asked.connect(str(run_dir / STDERR_SOCKET))
    except OSError:  # no supervisor listens: the current standard error stays
        asked.close()
        return
    asyncio.get_running_loop().add_reader(asked, _receive_descriptor, asked, take)


def _receive_descriptor(asked: socket.socket, take: Callable[[int], None]) -> None:
    asyncio.get_running_loop().remove_reader(asked)
    with asked:
        try:
            _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        except OSError:  # the supervisor has gone
            return
    for number, descriptor in enumerate(descriptors):
        if number == 0:
            take(descriptor)
        os.close(descriptor)

"""Locks on files, which the kernel releases at the end of a process (flock(2))."""

import fcntl


def try_lock(descriptor: int) -> bool:
    """Lock a file for this process; return False if another one holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

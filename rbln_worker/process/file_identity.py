"""The identity of a file, which differs when another file gets its path."""

import os
from pathlib import Path


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """Return device, inode and time of the last change of its contents; None: there is no file.

    A socket's contents never change, so for a socket this is the time of its creation. An inode
    alone may be used again at once.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

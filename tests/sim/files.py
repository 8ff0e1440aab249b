"""Which file a path is."""

from pathlib import Path

Identity = tuple[int, int]
"""Inode number and time of the last status change in nanoseconds.

The number alone does not do: a socket that is removed and bound again gets its old one at once on
common file systems (seen on ext4).
"""


def identity(path: Path) -> Identity | None:
    """The file's identity; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns

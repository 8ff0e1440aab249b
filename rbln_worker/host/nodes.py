"""Checks of the host's device nodes, as a container runtime would open them as root."""

import os
import stat
from pathlib import Path
from typing import Final

from rbln_worker.spec import below_root

MISSING: Final = "does not exist"

_DEV: Final = "/dev"
_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def is_real(root: str) -> bool:
    """Return True if the host's /dev is real: a simulated one of plain files has no null device."""
    try:
        return stat.S_ISCHR(os.stat(f"{root}{_DEV}/null").st_mode)
    except OSError:
        return False


def node_problem(root: str, path: str, *, real: bool) -> str:
    """Return the reason not to allocate a node, without its path; empty if all is well.

    Links are resolved as on the host: from its own root, and not out of its /dev.

    Args:
        root: the path of the host's root.
        path: the node's path, below /dev.
        real: True if the node has to be a character device.
    """
    if not path.startswith(f"{_DEV}/"):
        return f"does not lie in {_DEV}"
    try:
        place = below_root(Path(root or "/"), path)
        if not root:
            place = Path(os.path.realpath(place))
        mode = os.lstat(place).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL
        return MISSING
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if stat.S_ISLNK(mode):
        return "is a link that leads nowhere"
    if not str(place).startswith(f"{root}{_DEV}/"):
        return f"is a link that leads out of {_DEV}"
    if real and not stat.S_ISCHR(mode):
        return f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no character device"
    return ""

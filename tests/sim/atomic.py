"""Takes files away and puts others in their place in one step.

What the processes miss they write again within milliseconds: two steps would race with them.
"""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""linux/fs.h: renameat2(2) exchanges two names."""


def remove(path: Path) -> None:
    """Take away a file or a whole folder at once."""
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp") as aside:
        path.rename(Path(aside, "removed"))


def put_folder(path: Path) -> None:
    """Put an empty folder in the place of a file."""
    _exchange(path, lambda made: made.mkdir())


def put_file(path: Path, text: str) -> None:
    """Put a file in the place of a folder."""
    _exchange(path, lambda made: made.write_text(text))


def _exchange(path: Path, make: Callable[[Path], object]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp") as aside:
        made = Path(aside, "made")
        make(made)
        names = (os.fsencode(made), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE)
        if libc.renameat2(_AT_FDCWD, *names):
            raise OSError(ctypes.get_errno(), f"renameat2 {path}")
        if made.is_dir():
            shutil.rmtree(made)

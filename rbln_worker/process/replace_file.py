"""Files that are replaced in one step."""

import os
from pathlib import Path
from typing import Final

ASIDE_SUFFIX: Final = ".new"
"""The suffix of a file while it is written. Container runtimes ignore it among CDI specs."""


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file under another name, and rename it. Raises OSError, and leaves nothing behind.

    There must be one writer at a time.
    """
    aside = path.with_name(f"{path.name}{ASIDE_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise

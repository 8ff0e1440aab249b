"""Files of the run directory that are replaced in one step."""

import os
from pathlib import Path
from typing import Final

ASIDE_SUFFIX: Final = ".new"
"""The suffix of a file while it is written."""


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, for its owner only, under another name, and rename it. Raises OSError."""
    aside = path.with_name(f"{path.name}{ASIDE_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
        file.write(data)
    aside.replace(path)

"""The bytes of the configuration that is served, kept for whoever compares the node with it.

The configuration file may say something else by now, or nothing that can be read.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from rbln_supervisor.config_file import SIZE_MOST

FILE: Final = "config.served"
"""In the run directory, for its owner alone: ``additionalInfo`` may hold secrets."""
_ASIDE: Final = f"{FILE}.new"


def save(run_dir: Path, raw: bytes | None) -> None:
    """Write the bytes; remove them where they are not known, or can't be written."""
    aside = run_dir / _ASIDE
    try:
        if raw is not None:
            aside.write_bytes(raw)  # umask 077
            aside.replace(run_dir / FILE)
            return
    except OSError:  # a full disk: no answer is better than a former one
        pass
    for path in (aside, run_dir / FILE):
        with contextlib.suppress(OSError):
            path.unlink()


def load(run_dir: Path) -> bytes | None:
    """Read the bytes of the last supervisor of a run directory; None where there are none."""
    try:
        descriptor = os.open(run_dir / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            raw = file.read(SIZE_MOST + 1)
    except OSError:
        return None
    return raw if len(raw) <= SIZE_MOST else None

"""Reads the configuration file: only a regular file, in bounded time and memory."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rbln_supervisor.core.config.node_config import ConfigError

MAX_BYTES: Final = 1024 * 1024
"""Maximum size in bytes. A ConfigMap cannot be larger; a larger file is the wrong file."""


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the file's content without waiting, whatever the path refers to.

    Raises:
        ConfigError: One line: the path, and the reason why it can't be read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            before = os.fstat(file.fileno())
            content = file.read(MAX_BYTES + 1) if stat.S_ISREG(before.st_mode) else None
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ConfigError(in_file(path, [f"can't be read: {error.strerror}"])) from error
    if content is None:
        reason = "expected a regular file"
    elif len(content) > MAX_BYTES:
        reason = f"more than {MAX_BYTES} bytes (1 MiB, a ConfigMap's limit)"
    # Half of the old file and half of the new one might still be a valid document.
    elif (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        reason = "changed while it was read; write it in one step, by rename"
    else:
        return content
    raise ConfigError(in_file(path, [reason]))


def _open_at_once(path: str, flags: int) -> int:
    # Opening a FIFO would wait for its writer, and a terminal must not become ours.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def in_file(path: str | os.PathLike[str], errors: Iterable[str]) -> tuple[str, ...]:
    """Return errors that name their file; those of ``read_file`` do already."""
    text = str(Path(path))
    start = f"{text if text.isprintable() else ascii(text)}: "
    return tuple(one if one.startswith(start) else f"{start}{one}" for one in errors)

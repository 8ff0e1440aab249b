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
        # O_NONBLOCK: opening a FIFO would wait for its writer. O_NOCTTY: a terminal must not become
        # ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError([f"{_printable_path(path)}: {_error_text(error)}"]) from error
    try:
        return _read_descriptor(descriptor, _printable_path(path))
    except OSError as error:
        raise ConfigError([f"{_printable_path(path)}: {_error_text(error)}"]) from error
    finally:
        os.close(descriptor)


def _read_descriptor(descriptor: int, path: str) -> bytes:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise ConfigError([f"{path}: expected a regular file, got {_file_type(before.st_mode)}"])
    if before.st_size > MAX_BYTES:
        raise ConfigError([_too_large(path, before.st_size)])
    pieces, size = [], 0
    while piece := os.read(descriptor, MAX_BYTES + 1 - size):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise ConfigError([_too_large(path, size)])
    after = os.fstat(descriptor)
    # Half of the old file and half of the new one might still be a valid document.
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        raise ConfigError([f"{path}: changed while it was read; write it in one step, by rename"])
    return b"".join(pieces)


def in_file(path: str | os.PathLike[str], errors: Iterable[str]) -> tuple[str, ...]:
    """Return errors that name their file; those of ``read_file`` do already."""
    start = f"{_printable_path(path)}: "
    return tuple(one if one.startswith(start) else f"{start}{one}" for one in errors)


def _too_large(path: str, size: int) -> str:
    return f"{path}: {size} bytes, expected at most {MAX_BYTES} (1 MiB, a ConfigMap's limit)"


def _error_text(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file, expected a configuration"
        case PermissionError():
            return "permission denied, expected a file that this user may read"
        case OSError(strerror=str() as why):
            return f"can't be read: {why}"
        case ValueError():  # Python's text for it differs between versions
            return "can't be read: a path holds no NUL"
        case _:
            return f"can't be read: {error}"


def _file_type(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _printable_path(path: str | os.PathLike[str]) -> str:
    text = str(Path(path))
    return text if text.isprintable() else ascii(text)

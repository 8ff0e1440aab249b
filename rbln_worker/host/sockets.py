"""Names of the pool's unix sockets, and removal of stale ones."""

import contextlib
import hashlib
import os
import re
import secrets
import socket
import stat
from pathlib import Path
from typing import Final

from rbln_worker.contract.errors import RblnError

MAX_PATH_BYTES: Final = 107
"""Size of sun_path without the NUL at its end, in bytes; see unix(7)."""

MIN_AGE_S: Final = 2.0
"""Minimum age of a socket file that is removed: its server may be between bind and listen."""


class SocketPathError(RblnError):
    """The path of a socket in a folder would be too long; the text has a hint."""


def unique_socket_name(folder: Path, stem: str) -> str:
    """Return ``<stem>-<16 hex digits>.sock``; a stem that is too long is cut and hashed.

    Raises:
        SocketPathError: the path of the folder is too long.
    """
    unique = secrets.token_hex(8)
    name = f"{stem}-{unique}.sock"
    room = MAX_PATH_BYTES - len(os.fsencode(folder)) - 1
    if len(name) <= room:
        return name
    digest = _stem_digest(stem)
    kept = room - len(f"-{digest}-{unique}.sock")
    if kept < 0:
        raise SocketPathError(
            f"{folder}: a socket's path has {MAX_PATH_BYTES} bytes at most (unix(7)); "
            "give --device-plugins-dir or --plugins-registry-dir a shorter path"
        )
    return f"{stem[:kept]}-{digest}-{unique}.sock"


def remove_stale_sockets(folder: Path, stem: str, now: float) -> tuple[Path, ...]:
    """Remove the pool's sockets that are not served any more; return their paths.

    Args:
        folder: the folder of the sockets; it need not exist.
        stem: the pool's part of the name; the reference's ``<stem>.sock`` counts as well.
        now: wall clock time, to compare with the files' times.
    """
    swept = []
    for path, modified_ns in _pool_sockets(folder, stem):
        if now - modified_ns / 1e9 > MIN_AGE_S and is_dead(path):
            with contextlib.suppress(OSError):  # removed in between, or no permission
                path.unlink()
                swept.append(path)
    return tuple(swept)


def newer_instance(own: Path, stem: str) -> str:
    """Return the name of the pool's youngest living socket that is younger than ``own``, or "".

    Args:
        own: the socket that this worker serves.
        stem: the pool's part of the name.
    """
    found = sorted(_pool_sockets(own.parent, stem), key=lambda one: one[::-1], reverse=True)
    for path, _ in found:
        if path == own:
            break
        if not is_dead(path):
            return path.name
    return ""


def remove_if_dead(path: Path) -> bool:
    """Remove a socket whose server has ended; return False if a process listens on it."""
    try:
        dead = path.is_socket() and is_dead(path)
        if dead:
            path.unlink()
    except OSError:  # removed in between, or no permission
        return False
    return dead


def is_dead(path: Path) -> bool:
    """Return True if the socket exists and no process listens on it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:  # EAGAIN: a full backlog is a living server
            return False
    return False


def _pool_sockets(folder: Path, stem: str) -> list[tuple[Path, int]]:
    """Return the pool's sockets in a folder, with the times of their last changes (ns)."""
    ours = re.compile(
        rf"{re.escape(stem)}(-[0-9a-f]{{16}})?\.sock|.*-{_stem_digest(stem)}-[0-9a-f]{{16}}\.sock"
    )
    found = []
    with contextlib.suppress(OSError):  # no folder, no sockets
        for path in filter(lambda one: ours.fullmatch(one.name), folder.iterdir()):
            with contextlib.suppress(OSError):  # removed in between
                status = path.stat()
                if stat.S_ISSOCK(status.st_mode):
                    found.append((path, status.st_mtime_ns))
    return found


def _stem_digest(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()[:12]

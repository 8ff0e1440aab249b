"""Names and remains of the pool's unix sockets."""

import hashlib
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Final

PATH_BYTES_MOST: Final = 107
"""sun_path without its end, unix(7)."""

YOUNG_S: Final = 2.0
"""A socket file is left alone until it is this old: its server may be between bind and listen."""


class PathTooLong(Exception):
    """No socket can be made in a folder; the text says what to do."""


def fresh_name(folder: Path, stem: str) -> str:
    """``<stem>-<16 hex digits>.sock``; a stem that would make the path too long is cut and hashed.

    Raises:
        PathTooLong: the folder alone is too long.
    """
    unique = secrets.token_hex(8)
    name = f"{stem}-{unique}.sock"
    room = PATH_BYTES_MOST - len(os.fsencode(folder)) - 1
    if len(name) <= room:
        return name
    digest = _digest(stem)
    kept = room - len(f"-{digest}-{unique}.sock")
    if kept < 0:
        raise PathTooLong(
            f"{folder}: a socket's path has {PATH_BYTES_MOST} bytes at most (unix(7)); "
            "give --device-plugins-dir or --plugins-registry-dir a shorter path"
        )
    return f"{stem[:kept]}-{digest}-{unique}.sock"


def sweep(folder: Path, stem: str, now: float) -> tuple[Path, ...]:
    """Remove the pool's sockets that nobody serves any more; returns their paths.

    Args:
        folder: where they lie; it need not exist.
        stem: the pool's part of the name; the reference's ``<stem>.sock`` counts as well.
        now: wall clock time, to compare with the files' times.
    """
    ours = _named_by(stem)
    swept = []
    for path in _entries(folder):
        try:
            if (
                ours.fullmatch(path.name)
                and path.is_socket()
                and now - path.stat().st_mtime > YOUNG_S
                and refuses(path)
            ):
                path.unlink()
                swept.append(path)
        except OSError:  # gone in between, or not ours to remove
            continue
    return tuple(swept)


def younger(own: Path, stem: str) -> str:
    """The youngest living socket of the pool that is younger than our own; its name, or nothing.

    Args:
        own: the socket that we serve.
        stem: the pool's part of the name.
    """
    ours = _named_by(stem)
    found: list[tuple[int, str]] = []
    for path in (own, *_entries(own.parent)):
        try:
            if ours.fullmatch(path.name) and path.is_socket():
                found.append((path.stat().st_mtime_ns, path.name))
        except OSError:  # gone in between
            continue
    for _, name in sorted(found, reverse=True):
        if name == own.name:
            break
        if not refuses(own.with_name(name)):
            return name
    return ""


def remove_dead(path: Path) -> bool:
    """Remove a socket whose server is known to have ended; False where somebody answers on it."""
    try:
        dead = path.is_socket() and refuses(path)
        if dead:
            path.unlink()
    except OSError:  # gone in between, or not ours to remove
        return False
    return dead


def refuses(path: Path) -> bool:
    """Whether a socket is there on which nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:  # EAGAIN: a full backlog is a living server
            return False
    return False


def _named_by(stem: str) -> re.Pattern[str]:
    return re.compile(
        rf"{re.escape(stem)}(-[0-9a-f]{{16}})?\.sock|.*-{_digest(stem)}-[0-9a-f]{{16}}\.sock"
    )


def _entries(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(folder.iterdir())
    except OSError:  # no folder, no sockets
        return ()


def _digest(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()[:12]

"""Values of options of the command line.

Each function raises ArgumentTypeError for a wrong one.
"""

import argparse
import logging
import re
from pathlib import Path
from typing import Final

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_LEVELS: Final = ("debug", "info", "warning", "error")
_SIZE: Final = re.compile(r"([0-9]{1,19})(|KiB|MiB|GiB)", re.ASCII)
_UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MIN_MEMORY: Final = 256 << 20
"""Minimum of --worker-memory-max. A small pool's worker uses 125 MiB, of which 104 are thread
stacks. With 16 cores and more, where gRPC starts 12 further threads, it uses 218 MiB, of which 200
are stacks."""


def parse_boolean(text: str) -> bool:
    """Return a boolean, in any of Go's spellings."""
    if text not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return _BOOLEANS[text]


def parse_absolute_path(text: str) -> Path:
    """Return a path from the root."""
    path = Path(text)
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"expected an absolute path, got {text!r}")
    return path


def parse_path(text: str) -> Path:
    """Return a path from the root, also of a relative one."""
    return Path(text).absolute()


def parse_seconds(text: str) -> float:
    """Return a duration in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return seconds


def parse_memory(text: str) -> int:
    """Return a size in bytes; 0: no limit."""
    if text == "none":
        return 0
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _UNITS[found[2] or ""] if found else 0
    if not _MIN_MEMORY <= size < 1 << 62:
        raise argparse.ArgumentTypeError(
            f"expected none, or at least 256MiB (a number of bytes, KiB, MiB or GiB), got {text!r}"
        )
    return size


def parse_level(text: str) -> int:
    """Return a level of ``logging``; a number, as for the reference, is info."""
    level = "info" if text.isdecimal() else text.lower()
    if level not in _LEVELS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(_LEVELS)} or a number, got {text!r}")
    return logging.getLevelNamesMapping()[level.upper()]

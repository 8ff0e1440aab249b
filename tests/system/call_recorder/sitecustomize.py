"""Records calls of chosen functions, in a program that has this folder on its PYTHONPATH.

RBLN_CALLS names the file; each call appends a line: monotonic nanoseconds, pid, path and qualified
name. RBLN_CALLED has the functions, as ``path:name`` relative to the repository. Forked processes
go on recording, and so do threads.
"""

import os
import sys
import threading
from pathlib import Path
from time import monotonic_ns
from types import CodeType, FrameType

FILE = os.environ.get("RBLN_CALLS", "")
CHOSEN = frozenset(os.environ.get("RBLN_CALLED", "").split())
REPOSITORY = f"{Path(__file__).parents[3]}/"

_names: dict[CodeType, str] = {}


def _name(code: CodeType) -> str:
    """Return the function's name if it is a chosen one, else nothing."""
    name = f"{code.co_filename.removeprefix(REPOSITORY)}:{code.co_qualname}"
    return name if name in CHOSEN else ""


def record(frame: FrameType, event: str, _argument: object) -> None:
    """Append a line where a chosen function begins, or a generator continues."""
    if event != "call":
        return
    code = frame.f_code
    name = _names.get(code)
    if name is None:
        name = _names[code] = _name(code)
    if name:
        line = f"{monotonic_ns()} {os.getpid()} {name}\n".encode()
        file = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(file, line)
        os.close(file)


if FILE:
    threading.setprofile(record)
    sys.setprofile(record)

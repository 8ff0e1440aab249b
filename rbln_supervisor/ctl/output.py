"""Output of rbln-ctl to standard output and standard error, also without a reader."""

import contextlib
import io
import os
import sys

import msgspec

from rbln_supervisor.ctl.text import plain


def prepare_streams() -> None:
    """Prevent failures by characters that the locale can't encode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_text(text: str) -> bool:
    """Write to standard output; return False if its reader is gone, which is no failure."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return False  # as with ``| head``
    return True


def write_json(value: object) -> None:
    """Write a value as JSON for people and scripts."""
    write_text(format_json(value))


def format_json(value: object) -> str:
    """Return a value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def print_errors(*lines: str, prefix: str = "rbln-ctl") -> None:
    """Write lines to standard error, each with a prefix."""
    with contextlib.suppress(OSError):  # no reader; the exit code remains
        for line in lines:
            print(plain(f"{prefix}: {line}"), file=sys.stderr, flush=True)


def flush_streams() -> None:
    """Flush both streams, so that Python's own flush at the end can't fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

"""Where rbln-ctl writes: standard output and standard error, also where nobody reads them."""

import contextlib
import io
import os
import sys

import msgspec

from rbln_supervisor.ctl.words import plain


def prepare() -> None:
    """Let no text fail for what a locale can't say."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> bool:
    """Write to standard output; False where its reader has had enough, which is no failure."""
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
    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def write_line(value: object) -> bool:
    """Write a value as one line of JSON, one of many; False where nobody reads."""
    return write(msgspec.json.encode(value).decode() + "\n")


def complain(*lines: str, said: str = "rbln-ctl") -> None:
    """Write lines to standard error, each after who says it."""
    with contextlib.suppress(OSError):  # nobody listens; the exit code still tells
        for line in lines:
            print(plain(f"{said}: {line}"), file=sys.stderr, flush=True)


def close() -> None:
    """Let Python's own flush at the end find nothing to say, or nowhere to fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

"""Log lines to standard error, without waiting for its reader, and to a pool's tail file."""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

Format = Literal["text", "json"]

MAX_TAIL_BYTES: Final = 64 * 1024
"""Maximum size of a tail file, which is then truncated: it is for reading after an exit."""

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def setup_log(who: str, level: int, form: Format, tail: Path | None = None) -> None:
    """Set up the log of this process; each line contains ``who``."""
    handlers: list[logging.Handler] = [_Descriptor(_standard_error(), None)]
    if tail is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        handlers.append(_Descriptor(os.open(tail, flags, 0o600), MAX_TAIL_BYTES))
    for handler in handlers:
        handler.setFormatter(log_formatter(who, form))
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(level)


def log_formatter(who: str, form: Format) -> logging.Formatter:
    """Return the formatter of all log lines; each contains ``who``."""
    return _Json(who) if form == "json" else _Text(who)


def write_crash(text: str) -> None:
    """Write a text to all destinations without the logging module."""
    for handler in logging.getLogger().handlers or [_Descriptor(2, None)]:
        if isinstance(handler, _Descriptor):
            handler.write(handler.format_text(text))


def use_stderr_of(pid: int) -> None:
    """Use the standard error of another process, of supervisord; forks inherit it.

    supervisord reads a program's standard error from a pipe, which it closes when the program ends,
    but workers go on. Its own is the container's. This needs the capabilities of that process
    (ptrace(2)). If it cannot be opened, ours stays: once this process has ended, workers' lines are
    in their tail files only.
    """
    try:
        fd = _reopen_file(f"/proc/{pid}/fd/2")
    except OSError:
        return
    os.dup2(fd, 2)  # gRPC's core and the interpreter write there, too
    os.close(fd)


def tail_descriptor() -> int | None:
    """Return the tail file's descriptor, for a fault handler that can only write to one."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Descriptor) and handler.bytes_most is not None:
            return handler.fd
    return None


def _standard_error() -> int:
    # A reopened file description is private and may be non-blocking: a container runtime that stops
    # reading must not block the worker. If it can't be reopened (a socket), the shared one is used.
    try:
        return _reopen_file("/proc/self/fd/2")
    except OSError:
        return 2


def _reopen_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


class _Descriptor(logging.Handler):
    """A handler that writes whole lines to a descriptor, or drops and counts them."""

    def __init__(self, fd: int, bytes_most: int | None) -> None:
        super().__init__()
        self.fd = fd
        self.bytes_most = bytes_most
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record) + "\n")

    def format_text(self, text: str) -> str:
        """Return a text outside of a log record in the form of log lines."""
        return self.formatter.plain_line(text) if isinstance(self.formatter, _Json) else text

    def write(self, text: str) -> None:
        if self._left_out:
            text = self.format_text(f"({self._left_out} lines left out: nobody read them)\n") + text
        try:
            if self.bytes_most is not None and os.fstat(self.fd).st_size > self.bytes_most:
                os.ftruncate(self.fd, 0)
            os.write(self.fd, text.encode(errors="replace"))
        except OSError:  # full or closed: there is no other destination for an error
            self._left_out += 1
        else:
            self._left_out = 0


def _iso_time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extra_of(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _PLAIN}


class _Text(logging.Formatter):
    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={value}" for key, value in _extra_of(record).items())
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        line = f"{record.levelname:<7} {self._who}: {record.getMessage()}{facts}{trace}"
        return f"{_iso_time(record)} {line}"


class _Json(logging.Formatter):
    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _iso_time(record),
            "level": record.levelname.lower(),
            "who": self._who,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        # A fact with the name of one of these gets an underscore.
        fields |= {f"{key}_" if key in fields else key: v for key, v in _extra_of(record).items()}
        return _json_line(fields)

    def plain_line(self, text: str) -> str:
        """Return a text outside of a log record as JSON; its last line is the message."""
        lines = text.rstrip("\n").splitlines() or [""]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields = {"time": now, "level": "error", "who": self._who, "logger": __name__}
        rest = {"trace": text} if len(lines) > 1 else {}
        return _json_line(fields | {"message": lines[-1]} | rest) + "\n"


def _json_line(fields: dict[str, object] | dict[str, str]) -> str:
    """Return a JSON line for any value: NaN is not valid JSON, and a set can't be encoded."""
    try:
        return json.dumps(fields, default=str, allow_nan=False)
    except ValueError:
        return json.dumps({key: str(value) for key, value in fields.items()})

"""The events of one process: a file of the run directory that this process alone writes.

Each write appends some hundred bytes. The run directory is in memory (/run is a tmpfs; in a pod an
emptyDir of medium Memory), where that takes microseconds. Nothing is flushed to a disk, and a full
disk costs events, but does not block. A full file replaces the previous one, so the total size is
at most that of two files.
"""

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from rbln_worker.contract.events import Event, Kind, limit_text

PREVIOUS_SUFFIX: Final = ".1"
"""Suffix of the file that was full last."""
MAX_FILE_BYTES: Final = 512 * 1024
"""Maximum size of a file. Some 2,500 events."""
MAX_PENDING: Final = 4096
"""Maximum number of events that wait for a write."""
RETRY_INTERVAL_S: Final = 2.0
"""Interval between two attempts to write after an error such as a full disk (seconds)."""
_MAX_READ_BYTES: Final = 2 * MAX_FILE_BYTES
"""Maximum number of bytes that are read of a file, whatever its size."""
_OPEN_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_LIMITED: Final = ("what", "pool", "device", "source", "why")
"""The texts of an event."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)


class EventFile:
    """The file of one process. What cannot be written waits, and ``problem`` says why."""

    def __init__(self, path: Path, retry_interval_s: float = RETRY_INTERVAL_S) -> None:
        """Continue the file; ``retry_interval_s``: seconds between two attempts to write."""
        self._path = path
        self._retry_interval_s = retry_interval_s
        self._pending: deque[bytes] = deque()
        self._lost = 0
        """Events that were dropped because too many waited."""
        self._retry_at = 0.0
        """Time of the next attempt to write (monotonic seconds)."""
        self.problem = ""
        """Reason why the file is incomplete, with the number of lost events; empty if complete."""
        self.last = {event.subject: event for event in EventReader().read_new(path)}
        """The last event of each subject, also of an earlier process."""

    def record_event(
        self,
        kind: Kind,
        what: str,
        *,
        pool: str = "",
        device: str = "",
        source: str = "",
        why: str = "",
    ) -> None:
        """Record an event of this moment."""
        self.append_event(Event(epoch_now(), kind, what, pool, device, source, why))

    def append_event(self, event: Event) -> None:
        """Append an event; ``write_pending`` writes it."""
        texts = {name: limit_text(getattr(event, name)) for name in _LIMITED}
        event = msgspec.structs.replace(event, **texts)
        self.last[event.subject] = event
        if len(self._pending) == MAX_PENDING:
            self._pending.popleft()
            self._lost += 1
        self._pending.append(_ENCODER.encode(event) + b"\n")

    def write_pending(self) -> None:
        """Write recorded events. An error is kept as ``problem``, and they are tried again."""
        if not self._pending or monotonic() < self._retry_at:
            return
        try:
            while self._pending:
                self._write_batch()
        except OSError as error:
            lost = f"; {self._lost} are lost already" if self._lost else ""
            self.problem = f"events are lost at a restart: {self._path}: {error.strerror}{lost}"
            self._retry_at = monotonic() + self._retry_interval_s
        else:
            self.problem = ""

    def _write_batch(self) -> None:
        """Write as many events as fit into the file; replace the previous file if none does."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # if it was removed
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _OPEN_FLAGS, 0o600)
        try:
            size = _file_size(descriptor)
            batch: list[bytes] = []
            total = size
            for line in self._pending:
                total += len(line)
                if total > MAX_FILE_BYTES:
                    break
                batch.append(line)
            if not batch:
                self._path.replace(previous_file(self._path))
                return
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # ends a line that was torn by a crash or a full disk
            text = b"".join(batch)
            written = os.write(descriptor, text)
        finally:
            os.close(descriptor)
        for _ in range(text.count(b"\n", 0, written)):
            self._pending.popleft()
        if written < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class EventReader:
    """A reader of files of events. It reads each event once, also if its file is renamed."""

    def __init__(self) -> None:
        self.positions: dict[tuple[int, int], int] = {}
        """Bytes that were read, by device and inode; a reader may continue those of another."""

    def read_new(self, path: Path) -> list[Event]:
        """Return the new events of a file and of the previous one, in order.

        Lines that are no events are skipped (a process was killed while it wrote), and files that
        cannot be read are empty.
        """
        newest = list(self._read_events(path))  # first: meanwhile it may become the previous one
        return [*self._read_events(previous_file(path)), *newest]

    def _read_events(self, path: Path) -> Iterator[Event]:
        with contextlib.suppress(OSError):
            for line in self._read_lines(path).splitlines():
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    yield _DECODER.decode(line)

    def _read_lines(self, path: Path) -> bytes:
        """Return the whole lines after those that were read; a later write completes the last."""
        descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        with os.fdopen(descriptor, "rb") as file:
            size = _file_size(descriptor)
            status = os.fstat(descriptor)
            known = self.positions.get((status.st_dev, status.st_ino), 0)
            start = file.seek(max(known if known <= size else 0, size - _MAX_READ_BYTES))
            raw = file.read(_MAX_READ_BYTES)
        lines = raw[: raw.rfind(b"\n") + 1]
        self.positions[status.st_dev, status.st_ino] = start + len(lines)
        return lines


def previous_file(path: Path) -> Path:
    """Return the path of the file that was full last."""
    return path.with_name(f"{path.name}{PREVIOUS_SUFFIX}")


def epoch_now() -> float:
    """Return the seconds since the epoch, with microseconds."""
    return round(datetime.now(UTC).timestamp(), 6)


def _file_size(descriptor: int) -> int:
    """Return the size in bytes. Raises OSError if it is not a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file")
    return status.st_size

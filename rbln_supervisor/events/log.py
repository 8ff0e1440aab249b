"""The event log of a node: the newest events in memory, and in two files of the run directory.

A loop iteration with events appends some hundred bytes. The run directory is in memory (/run is a
tmpfs; in a pod an emptyDir of medium Memory), where that takes microseconds. Nothing is flushed to
a disk; a full or broken disk costs the file, but does not block the loop. A full file replaces the
previous one, so the total size is at most that of two files.
"""

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.core.events.dedup import MAX_TRANSITIONS, DedupState, EventDeduplicator
from rbln_supervisor.core.events.event import MAX_EVENTS, Event, Kind
from rbln_supervisor.core.pod_devices import Change
from rbln_worker.contract.events import Transition

FILE: Final = "events.jsonl"
PREVIOUS_FILE: Final = "events.1.jsonl"
MAX_FILE_BYTES: Final = 512 * 1024
"""Maximum size of a file, without the checkpoint in its first line. Some 2,500 events."""
RETRY_INTERVAL_S: Final = 2.0
"""Interval between two attempts to write after an error such as a full disk (seconds)."""
_LINE_BYTES: Final = 16 * 1024 * 1024
"""Maximum number of bytes that are read of a file, whatever its size."""

_ENCODER: Final = msgspec.json.Encoder()
_EVENT: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_CHECKPOINT: Final[msgspec.json.Decoder[DedupState]] = msgspec.json.Decoder(DedupState)


class EventLog:
    """The event log. Events that can't be written stay in memory, and ``problem`` says why."""

    def __init__(self, run_dir: Path, retry_interval_s: float = RETRY_INTERVAL_S) -> None:
        """``retry_interval_s``: seconds between two attempts to write."""
        self._retry_interval_s = retry_interval_s
        self._path = run_dir / FILE
        self._previous_path = run_dir / PREVIOUS_FILE
        self._deduplicator = EventDeduplicator()
        self._kept: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._unwritten: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._retry_at = 0.0
        """Time of the next attempt to write them (monotonic seconds)."""
        self._size = 0
        self._is_line_torn = False
        self.problem = ""
        """Reason why the files are incomplete; empty if they are complete."""
        for record in read_records(run_dir):
            self._deduplicator.apply_record(record)
            if isinstance(record, Event):
                self._kept.append(record)
        with contextlib.suppress(OSError):
            raw = _read_tail(self._path)
            self._size, self._is_line_torn = len(raw), bool(raw) and not raw.endswith(b"\n")

    @property
    def events(self) -> Iterable[Event]:
        """All events in memory, the oldest first."""
        return self._kept

    @property
    def last_number(self) -> int:
        """Number of the last event."""
        return self._deduplicator.checkpoint.number

    def record_event(
        self, kind: Kind, what: str, *, pool: str = "", device: str = "", why: str = ""
    ) -> None:
        """Record an event of this moment."""
        self._keep_event(
            self._deduplicator.number_event(
                Event(0, _epoch_now(), kind, what, pool, device, why=why)
            )
        )

    def record_pods(self, changes: Iterable[Change], source: str) -> None:
        """Record devices that pods have taken or released, unless that is already recorded."""
        last = {(one.pool, one.device): one for one in self._kept if one.kind == "pod"}
        for device, is_held in changes:
            what = "holds" if is_held else "released"
            before = last.get((device.resource, device.device))
            known = before is not None and (before.what, before.why) == (what, device.holder)
            if not known and (is_held or before is not None):
                event = Event(0, _epoch_now(), "pod", what, device.resource, device.device)
                event = msgspec.structs.replace(event, why=device.holder, source=source)
                self._keep_event(self._deduplicator.number_event(event))

    def record_transitions(self, pool: str, life: str, happened: tuple[Transition, ...]) -> None:
        """Record the new ones among a worker's reported transitions."""
        for event in self._deduplicator.new_transitions(
            pool, life, happened[-MAX_TRANSITIONS:], _epoch_now()
        ):
            self._keep_event(event)

    def record_states(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Record new states of pools, each with its reason."""
        for pool, (state, why) in states.items():
            if event := self._deduplicator.pool_transition(pool, state, why, _epoch_now()):
                self._keep_event(event)

    def record_removal(self, pool: str) -> None:
        """Record that the pool was removed from the configuration."""
        self.record_event("pool", "removed", pool=pool)
        self._deduplicator.forget_pool(pool)

    def write_pending(self) -> None:
        """Write recorded events. An error is kept as ``problem``, and they are tried again."""
        if not self._unwritten or monotonic() < self._retry_at:
            return
        text = b"".join(_ENCODER.encode(event) + b"\n" for event in self._unwritten)
        if self._is_line_torn:
            text = b"\n" + text
        try:
            if self._size + len(text) > MAX_FILE_BYTES:
                self._rotate_files()
            written = _append_bytes(self._path, text)
            self._size += written
            self._is_line_torn = written < len(text)
        except OSError as error:
            self.problem = f"events are lost at a restart: {self._path}: {error.strerror}"
            self._retry_at = monotonic() + self._retry_interval_s
        else:
            self._unwritten.clear()
            self.problem = ""

    def _keep_event(self, event: Event) -> None:
        self._kept.append(event)
        self._unwritten.append(event)

    def _rotate_files(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._previous_path)
        self._size = 0
        _append_bytes(self._path, _ENCODER.encode(self._deduplicator.checkpoint) + b"\n")


def read_records(run_dir: Path) -> Iterator[Event | DedupState]:
    """Yield the records in the files of a run directory, the oldest first; skip invalid lines.

    A line may be torn (a supervisor was killed while it wrote), and a file may have any content.
    """
    for name in (PREVIOUS_FILE, FILE):
        try:
            raw = _read_tail(run_dir / name)
        except OSError:
            continue
        for line in raw.splitlines():
            decoder = _CHECKPOINT if line.startswith(b'{"type":"marks"') else _EVENT
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield decoder.decode(line)


def _append_bytes(path: Path, text: bytes) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        written = os.write(descriptor, text)
    finally:
        os.close(descriptor)
    return written


def _read_tail(path: Path) -> bytes:
    """Return a file's newest bytes. Raises OSError if it is not a regular file; does not wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no file")
        file.seek(max(0, os.fstat(descriptor).st_size - _LINE_BYTES))
        return file.read(_LINE_BYTES)


def _epoch_now() -> float:
    return round(datetime.now(UTC).timestamp(), 3)

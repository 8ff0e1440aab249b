"""The file of a driver's checkpoint, which other instances of the plugin share.

Nothing is flushed to a disk: a process that is killed loses nothing, and after a power loss, in
another boot, the entries are history (core/dra/checkpoint.py). All functions here may block.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from rbln_worker.contract.claims import MAX_CHECKPOINT_BYTES
from rbln_worker.contract.errors import RblnError
from rbln_worker.core.dra.checkpoint import (
    CheckpointError,
    ClaimCheckpoint,
    encode_checkpoint,
    parse_checkpoint,
)
from rbln_worker.core.dra.claim_entry import ClaimEntry
from rbln_worker.process.file_identity import file_identity
from rbln_worker.process.file_lock import try_lock
from rbln_worker.process.replace_file import ASIDE_SUFFIX, replace_file

LOCK_TIMEOUT_S: Final = 5.0
"""Seconds to wait for another instance, which holds the lock for milliseconds."""
LOCK_INTERVAL_S: Final = 0.01

log = logging.getLogger(__name__)


class ClaimFilesError(RblnError):
    """A file of claims can't be read or written; the text has the path and the reason."""


class CheckpointFile:
    """The checkpoint; each change is a read, a decision and a write under one lock."""

    def __init__(self, path: Path, rebuild: Callable[[], Iterable[ClaimEntry]]) -> None:
        """``rebuild`` returns the entries that can be found without the checkpoint."""
        self._path = path
        self._rebuild = rebuild
        self._identity: tuple[int, ...] | None = None
        """The identity of the file that has the latest content."""
        self.latest = ClaimCheckpoint()
        """The content after the last change."""
        self.set_aside = ""
        """The path of the last corrupt checkpoint, and what was wrong with it."""

    def change_claims(
        self, decide: Callable[[ClaimCheckpoint], ClaimCheckpoint]
    ) -> ClaimCheckpoint:
        """Read the checkpoint, write what ``decide`` returns if it differs, and return it.

        An error of ``decide`` changes nothing. Raise ClaimFilesError.
        """
        with explained_errors(self._path), self._hold_lock():
            before, is_saved = self._load_claims()
            after = decide(before)
            if after is not before or not is_saved:
                replace_file(self._path, encode_checkpoint(after))
                self._identity = file_identity(self._path)
            self.latest = after
            return after

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._path.with_suffix(".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            deadline = monotonic() + LOCK_TIMEOUT_S
            while not try_lock(descriptor):
                if monotonic() > deadline:
                    raise ClaimFilesError(f"{lock}: another instance holds it")
                sleep(LOCK_INTERVAL_S)
            yield
        finally:
            os.close(descriptor)

    def _load_claims(self) -> tuple[ClaimCheckpoint, bool]:
        """Return the checkpoint, and True if a file has it."""
        try:
            identity = file_identity(self._path)
            if identity is not None and identity == self._identity:
                return self.latest, True
            with self._path.open("rb") as file:  # what is longer than allowed is corrupt
                checkpoint = parse_checkpoint(file.read(MAX_CHECKPOINT_BYTES))
        except FileNotFoundError:
            entries = {one.uid: one for one in self._rebuild()}
            return ClaimCheckpoint(entries), not entries
        except CheckpointError as error:
            self._set_aside(error)
            return ClaimCheckpoint({one.uid: one for one in self._rebuild()}), False
        self._identity, self.latest = identity, checkpoint
        return checkpoint, True

    def _set_aside(self, error: CheckpointError) -> None:
        kind = "foreign" if error.is_foreign else "corrupt"
        path = self._path.with_name(f"{self._path.name}.{kind}")
        self._path.replace(path)
        why = {"file": path.name, "why": str(error)}
        log.warning("a checkpoint of claims is set aside", extra=why)
        if not error.is_foreign:
            self.set_aside = f"{path} is the former checkpoint of claims: {error}"


@contextlib.contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Raise ClaimFilesError for an OSError, with the path that it is about."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | os.PathLike) else path
        raise ClaimFilesError(f"{name}: {error.strerror}") from error


def remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove files that were being written when their writer was killed; may raise OSError."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(prefix) and path.name.endswith(ASIDE_SUFFIX):
                path.unlink(missing_ok=True)

"""Records of claims on this node: the checkpoint and the files of each claim, kept in step.

All functions here may block. Files are written and removed under the lock of the checkpoint, which
keeps other instances from the same claim. A process may be killed after any step: files without an
entry are removed at a start, and those of an entry are written again.
"""

import contextlib
import logging
from datetime import UTC, datetime

import msgspec

from rbln_worker.core.dra.checkpoint import ClaimCheckpoint
from rbln_worker.core.dra.claim_entry import ClaimEntry, ClaimPhase, ClaimReference
from rbln_worker.core.dra.claims import check_conflicts
from rbln_worker.dra.checkpoint_file import CheckpointFile, ClaimFilesError
from rbln_worker.dra.claim_files import ClaimFiles, DeviceBoard

log = logging.getLogger(__name__)


class ClaimRecords:
    """The records of one driver, for one thread at a time."""

    def __init__(self, files: ClaimFiles, checkpoint: CheckpointFile, boot: str) -> None:
        self._files = files
        self._checkpoint = checkpoint
        self._boot = boot
        self.problem = ""
        """The reason why files of prepared claims are missing."""

    @property
    def entries(self) -> tuple[ClaimEntry, ...]:
        """The claims of this boot after the last change."""
        return self._checkpoint.latest.of_boot(self._boot)

    def read_entries(self) -> tuple[ClaimEntry, ...]:
        """Read the claims of this boot, also those of another instance."""
        return self._checkpoint.change_claims(lambda before: before).of_boot(self._boot)

    def lacks_spec(self) -> bool:
        """Return True if the spec of a prepared claim is missing."""
        return any(
            entry.state == "done" and not self._files.has_spec(entry.uid) for entry in self.entries
        )

    def find_prepared(self, claim: ClaimReference, board: DeviceBoard) -> ClaimEntry | None:
        """Return the entry of a prepared claim, whose files exist then."""
        prepared: ClaimEntry | None = None

        def write_files(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal prepared
            prepared = self._restore_prepared(before, claim, board)
            return before

        self._checkpoint.change_claims(write_files)
        return prepared

    def begin_claim(self, plan: ClaimEntry, state: ClaimPhase, board: DeviceBoard) -> ClaimEntry:
        """Record a claim that is not prepared yet; return its entry. Raises ClaimError.

        Its files are written, too, if its state becomes ``done``. ``started`` is for a claim whose
        group is made next; ``complete_claim`` has to follow.
        """
        since = round(datetime.now(UTC).timestamp(), 3)
        entry = msgspec.structs.replace(plan, boot=self._boot, state=state, since=since)

        def add_entry(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal entry
            if (prepared := self._restore_prepared(before, plan.claim, board)) is not None:
                entry = prepared  # by another instance
                return before
            check_conflicts(entry, before.of_boot(self._boot))
            if entry.state == "done":
                self._write_or_remove(entry, board)
            return before.with_entry(entry)

        self._checkpoint.change_claims(add_entry)
        return entry

    def complete_claim(self, entry: ClaimEntry, group: int | None, board: DeviceBoard) -> None:
        """Write the files of a claim that has its group, and record that it is prepared."""
        complete = msgspec.structs.replace(entry, state="done", group=group)

        def replace_entry(before: ClaimCheckpoint) -> ClaimCheckpoint:
            if before.claims.get(entry.uid) != entry:
                raise ClaimFilesError("it was unprepared meanwhile")
            self._write_or_remove(complete, board)
            return before.with_entry(complete)

        self._checkpoint.change_claims(replace_entry)

    def remove_claim(self, uid: str) -> ClaimEntry | None:
        """Remove the files of a claim, then its entry, which is returned."""
        removed: ClaimEntry | None = None

        def remove_entry(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal removed
            removed = before.claims.get(uid)
            self._files.remove_files(uid)
            return before.without_entry(uid) if removed else before

        self._checkpoint.change_claims(remove_entry)
        return removed

    def recover_claims(self, board: DeviceBoard) -> None:
        """Undo what earlier workers have not completed; another boot's claims are history."""

        def keep_prepared(before: ClaimCheckpoint) -> ClaimCheckpoint:
            kept = {one.uid: one for one in before.of_boot(self._boot) if one.state == "done"}
            self._files.remove_others(kept)
            return before if kept == before.claims else ClaimCheckpoint(kept, before.raw)

        try:
            self._checkpoint.change_claims(keep_prepared)
        except ClaimFilesError as error:
            why = {"why": str(error)}
            log.error("claims of earlier workers are not cleaned up", extra=why)  # noqa: TRY400
        self.refresh_files(board)

    def refresh_files(self, board: DeviceBoard) -> None:
        """Write the files of prepared claims that are missing or have changed."""
        problem = ""

        def write_files(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal problem
            for entry in before.of_boot(self._boot):
                try:
                    if entry.state == "done":
                        self._files.write_files(entry, board)
                except ClaimFilesError as error:
                    problem = str(error)
            return before

        try:
            self._checkpoint.change_claims(write_files)
        except ClaimFilesError as error:
            problem = str(error)
        if problem and problem != self.problem:
            log.error("files of prepared claims are missing", extra={"why": problem})
        self.problem = problem

    def _restore_prepared(
        self, checkpoint: ClaimCheckpoint, claim: ClaimReference, board: DeviceBoard
    ) -> ClaimEntry | None:
        """Return the entry of a prepared claim after its files are written where they differ."""
        entry = checkpoint.claims.get(claim.uid)
        if entry is None or entry.boot != self._boot or entry.state != "done":
            return None
        if entry.claim != claim:
            raise ClaimFilesError(f"the UID is that of claim {entry.claim.text}")
        self._files.write_files(entry, board)
        return entry

    def _write_or_remove(self, entry: ClaimEntry, board: DeviceBoard) -> None:
        """Write a claim's files; an error leaves none of them."""
        try:
            self._files.write_files(entry, board)
        except ClaimFilesError:
            with contextlib.suppress(ClaimFilesError):  # removed at the next start
                self._files.remove_files(entry.uid)
            raise

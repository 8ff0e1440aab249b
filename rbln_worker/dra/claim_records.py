"""Records of claims on this node: the checkpoint and the files of each claim, kept in step.

All functions here may block. A process may be killed after any step: an entry that is ``started``
may have some of its files, and is completed by the kubelet's next call or undone at a start.
"""

import contextlib
import logging
from datetime import UTC, datetime

import msgspec

from rbln_worker.core.dra.checkpoint import (
    ClaimCheckpoint,
    ClaimEntry,
    claim_holders,
    make_entry,
)
from rbln_worker.core.dra.claims import ClaimPlan, ClaimReference, ClaimRefusal, find_conflict
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

    def find_prepared(self, claim: ClaimReference, board: DeviceBoard) -> ClaimEntry | None:
        """Return the entry of a prepared claim, whose files exist then."""
        prepared: ClaimEntry | None = None

        def write_files(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal prepared
            entry = before.claims.get(claim.uid)
            if entry is not None and entry.boot == self._boot and entry.state == "done":
                if entry.claim != claim:
                    text = entry.claim.text
                    raise ClaimFilesError(f"the UID is that of claim {text}")
                self._files.write_files(entry, board)
                prepared = entry
            return before

        self._checkpoint.change_claims(write_files)
        return prepared

    def read_entries(self) -> tuple[ClaimEntry, ...]:
        """Read the claims of this boot, also those of another instance."""
        return self._checkpoint.change_claims(_keep_all).of_boot(self._boot)

    def lacks_spec(self) -> bool:
        """Return True if the spec of a prepared claim is missing."""
        return any(
            entry.state == "done" and not self._files.has_spec(entry.uid) for entry in self.entries
        )

    def begin_claim(self, plan: ClaimPlan, board: DeviceBoard) -> ClaimEntry | ClaimRefusal:
        """Record that side effects begin, or refuse a claim with a device of another one."""
        entry = make_entry(plan, self._boot, board.uuids, round(datetime.now(UTC).timestamp(), 3))
        refusal: ClaimRefusal | None = None

        def add_entry(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal refusal
            holders = claim_holders(before.of_boot(self._boot), besides=entry.uid)
            refusal = find_conflict(plan.devices, holders)
            return before if refusal else before.with_entry(entry)

        self._checkpoint.change_claims(add_entry)
        return refusal or entry

    def complete_claim(self, entry: ClaimEntry, group: int | None, board: DeviceBoard) -> None:
        """Write the files of a claim, and record that it is prepared; an error undoes it."""
        complete = msgspec.structs.replace(entry, state="done", group=group)

        def replace_entry(before: ClaimCheckpoint) -> ClaimCheckpoint:
            if before.claims.get(entry.uid) != entry:
                raise ClaimFilesError("it was unprepared meanwhile")
            return before.with_entry(complete)

        try:
            self._files.write_files(complete, board)
            self._checkpoint.change_claims(replace_entry)
        except ClaimFilesError:
            # Another instance may have prepared it again meanwhile.
            if self._checkpoint.latest.claims.get(entry.uid) in {None, entry}:
                with contextlib.suppress(ClaimFilesError):  # undone by the next call or at a start
                    self.remove_claim(entry.uid)
            raise

    def remove_claim(self, uid: str) -> ClaimEntry | None:
        """Undo a preparation; meanwhile it is one that is not complete. Return its entry."""
        removed: ClaimEntry | None = None

        def mark_incomplete(before: ClaimCheckpoint) -> ClaimCheckpoint:
            nonlocal removed
            removed = entry = before.claims.get(uid)
            if entry is None or entry.state == "started":
                return before
            return before.with_entry(msgspec.structs.replace(entry, state="started"))

        self._checkpoint.change_claims(mark_incomplete)
        self._files.remove_files(uid)
        self._checkpoint.change_claims(
            lambda before: before.without_entry(uid) if uid in before.claims else before
        )
        return removed

    def recover_claims(self, board: DeviceBoard) -> None:
        """Undo what earlier workers have not completed; another boot's claims are history."""
        try:
            checkpoint = self._checkpoint.change_claims(_keep_all)
            kept = {
                uid
                for uid, entry in checkpoint.claims.items()
                if entry.boot == self._boot and entry.state == "done"
            }
            self._files.remove_others(kept)
            for uid in checkpoint.claims.keys() - kept:
                self.remove_claim(uid)
        except ClaimFilesError as error:
            why = {"why": str(error)}
            log.error("claims of earlier workers are not cleaned up", extra=why)  # noqa: TRY400
        self.refresh_files(board)

    def refresh_files(self, board: DeviceBoard) -> None:
        """Write the files of prepared claims that are missing or have changed.

        The lock of the checkpoint keeps another instance from unpreparing them meanwhile.
        """
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


def _keep_all(before: ClaimCheckpoint) -> ClaimCheckpoint:
    return before

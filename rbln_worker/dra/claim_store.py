"""Claims of a pool that is exported by DRA: prepares and unprepares them.

Prepare: read the claim, decide, write its files and record it. A claim that gets an RSD group is
recorded before that is made, too. What is prepared is answered from the records. Unprepare needs
the records only.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, TypeVarTuple

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import DeviceId
from rbln_worker.core.dra.checkpoint import prepared_claims
from rbln_worker.core.dra.claim_entry import ClaimEntry, ClaimPhase, ClaimReference
from rbln_worker.core.dra.claim_spec import PreparedDevice, prepared_devices
from rbln_worker.core.dra.claims import ClaimError, ClaimView, plan_claim
from rbln_worker.core.dra.resource_claim import ResourceClaim
from rbln_worker.core.dra.rsd import RsdError
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.dra.checkpoint_file import ClaimFilesError
from rbln_worker.dra.claim_files import DeviceBoard
from rbln_worker.dra.claim_groups import ClaimGroups, ReadEntries
from rbln_worker.dra.claim_records import ClaimRecords
from rbln_worker.kube.client import ApiClient

FILES_TIMEOUT_S: Final = 10.0
"""Time-out of the file work of a call, in seconds; the work goes on after that."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class ClaimStore:
    """The claims of one driver on this node."""

    def __init__(
        self,
        client: ApiClient,
        records: ClaimRecords,
        make_groups: Callable[[ReadEntries], ClaimGroups],
        *,
        post: Callable[[tuple[PreparedClaim, ...]], None],
    ) -> None:
        """``post`` takes the prepared claims after a change."""
        self._client = client
        self._records = records
        self._post = post
        # One thread, so that each change of the checkpoint sees the one before.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claims")
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        """A lock for each claim, as long as a call uses it."""
        self.groups = make_groups(lambda: self._in_thread(self._records.read_entries))
        self._calls: set[asyncio.Task[Any]] = set()
        """Calls that have not ended."""
        self._view: ClaimView | None = None
        self._board: DeviceBoard | None = None
        self._files_due = asyncio.Event()
        """Set when files of prepared claims may be missing or outdated."""
        self._entries: tuple[ClaimEntry, ...] = ()
        self.prepared: tuple[PreparedClaim, ...] = ()
        """The prepared claims of this boot."""

    @property
    def problem(self) -> str:
        """The reason why files of prepared claims are missing."""
        return self._records.problem

    def update_devices(
        self, view: ClaimView, board: DeviceBoard, changed: Collection[DeviceId]
    ) -> None:
        """Take the pool's devices, and write the specs of claims with changed ones again."""
        is_first = self._view is None
        self._view, self._board = view, board
        devices = {device.id for entry in self._entries for device in entry.devices}
        if is_first or not devices.isdisjoint(changed):
            self._files_due.set()

    def restore_files(self) -> None:
        """Write the files of prepared claims again if a spec is missing."""
        if self._records.lacks_spec():
            self._files_due.set()

    async def keep_files(self) -> None:
        """Clean up after earlier workers, then write files again whenever that is due."""
        write_files = self._records.recover_claims
        while True:
            await self._files_due.wait()
            self._files_due.clear()
            if self._board is not None:
                with contextlib.suppress(ClaimFilesError):  # it goes on in the thread
                    await self._in_thread(write_files, self._board)
                write_files = self._records.refresh_files
                self._publish_claims()

    async def prepare_claim(self, claim: ClaimReference) -> tuple[PreparedDevice, ...] | ClaimError:
        """Prepare a claim; return its devices, also if it is prepared already, or the error."""
        if not claim.is_valid:
            return ClaimError(f"{claim.text[:300]!r} is no name of a claim")
        return await self._shield_call(self._prepare_locked(claim))

    async def unprepare_claim(self, claim: ClaimReference) -> ClaimError | None:
        """Undo the preparation of a claim, if there is one; return the error."""
        return await self._shield_call(self._unprepare_locked(claim)) if claim.is_valid else None

    async def close(self, within_s: float) -> None:
        """Let calls that have begun end."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=within_s)
        self._thread.shutdown(wait=False)

    async def _shield_call(self, work: Coroutine[Any, Any, T]) -> T | ClaimError:
        """Do the work to its end: the kubelet's next call gets the result after its time-out.

        An error is a value, because nobody may be waiting for it any more.
        """

        async def do_work() -> T | ClaimError:
            try:
                return await work
            except ClaimError as error:
                return error

        task = asyncio.create_task(do_work())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    async def _prepare_locked(self, claim: ClaimReference) -> tuple[PreparedDevice, ...]:
        async with self._claim_lock(claim.uid):
            view, board = self._view, self._board
            if view is None or board is None:
                raise ClaimError("the devices of the pool are not known yet")
            try:
                entry = None
                if any(one.uid == claim.uid for one in self._entries):
                    entry = await self._in_thread(self._records.find_prepared, claim, board)
                if entry is None:
                    entry = await self._prepare_new(claim, view, board)
            except ClaimFilesError as error:
                text = f"claim {claim.text} can't be prepared: {error}"
                raise ClaimError(text, "files") from error
            finally:
                self._publish_claims()
        return prepared_devices(entry, view.driver)

    async def _prepare_new(
        self, claim: ClaimReference, view: ClaimView, board: DeviceBoard
    ) -> ClaimEntry:
        try:
            current = await self._client.get(claim.path, ResourceClaim)
        except ApiError as error:
            entry = await self._in_thread(self._records.find_prepared, claim, board)
            if entry is not None:  # by another instance
                return entry
            text = f"claim {claim.text} can't be read: {error}"
            raise ClaimError(text, "api-server") from error
        # A device may have become unusable during the call.
        view, board = self._view or view, self._board or board
        plan = plan_claim(claim, current, view)
        members = self.groups.members_of(plan)
        state: ClaimPhase = "started" if members else "done"
        entry = await self._in_thread(self._records.begin_claim, plan, state, board)
        if entry.state == "started":
            await self._complete_claim(entry, members, board)
        return entry

    async def _complete_claim(
        self, entry: ClaimEntry, members: Sequence[str], board: DeviceBoard
    ) -> None:
        try:
            group = await self.groups.make_group(entry, members)
        except RsdError as error:
            await self._in_thread(self._records.remove_claim, entry.uid)
            raise ClaimError(f"claim {entry.claim.text} gets no group: {error}") from error
        try:
            await self._in_thread(self._records.complete_claim, entry, group, board)
        except ClaimFilesError:
            # Not removed here: another instance may have prepared the claim with it meanwhile.
            self.groups.suspect_orphans()
            raise

    async def _unprepare_locked(self, claim: ClaimReference) -> None:
        async with self._claim_lock(claim.uid):
            try:
                removed = await self._in_thread(self._records.remove_claim, claim.uid)
                if removed is not None:
                    await self.groups.remove_group(removed)
            except ClaimFilesError as error:
                text = f"claim {claim.text} can't be unprepared: {error}"
                raise ClaimError(text, "files") from error
            finally:
                self._publish_claims()

    def _claim_lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())

    async def _in_thread(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        loop = asyncio.get_running_loop()
        try:
            future = loop.run_in_executor(self._thread, function, *arguments)
        except RuntimeError as error:  # after close()
            raise ClaimFilesError("this worker is about to end") from error
        done, _ = await asyncio.wait({future}, timeout=FILES_TIMEOUT_S)
        if not done:
            raise ClaimFilesError(f"its files took longer than {FILES_TIMEOUT_S:g} s")
        return future.result()

    def _publish_claims(self) -> None:
        self._entries = self._records.entries
        prepared = prepared_claims(self._entries)
        if prepared != self.prepared:
            self.prepared = prepared
            self._post(prepared)

"""Host files of a pool: a device-info file for each device, and its CDI spec.

They are written when their contents change, never in a call: a device is allocated only once its
files exist. A write can wait for a disk, so it runs in a thread: of the prober, or of this module.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation import cdi, devinfo
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.host.manifest import FileClaim, FileManifest, remove_marked
from rbln_worker.spec import WorkerSpec, below_root

SPEC_TIMEOUT_S: Final = 5.0
"""Time-out of writing a spec, in seconds."""
MANIFEST_RETRY_S: Final = 2.0
"""Seconds until the next attempt to save the list if that fails, such as on a full disk."""

log = logging.getLogger(__name__)


class SpecHolders(NamedTuple):
    """Use of a pool's CDI spec by pods."""

    any: bool = False
    """True if a pod holds one of its devices, or this is unknown: an existing spec stays."""
    claimed: bool = False
    """True if a pod was given the CDI name of one of its devices: a spec is required."""


class HostFiles:
    """The pool's files on the host, and problems with them."""

    def __init__(self, boot: WorkerSpec, *, on_settled: Callable[[], None]) -> None:
        """Call ``on_settled`` when ``list_problems`` may have changed."""
        self._on_settled = on_settled
        self._mode = boot.cdi
        self._infos = below_root(boot.root, devinfo.FOLDER)
        self._specs = boot.spec_folder
        self._manifest = FileManifest(boot.manifest_path)
        # One thread, so that an older spec never replaces a newer one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._write: asyncio.Future[str] | None = None
        self._collection: asyncio.Future[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._outdated = False
        """True if a change happened while files were settled."""
        self._latest: tuple[PoolSpec, tuple[DeviceId, ...]] | None = None
        self._spec_place: Path | None = None
        """The path of the spec that claims refer to."""
        self._in_spec: Mapping[DeviceId, DeviceAllocation] = {}
        """The devices in the spec."""
        self.version = 0
        """A number that changes whenever the result of ``spec_problem`` may change."""
        self._held = SpecHolders()
        self._spec_text = ""
        self._claim = FileClaim()
        """A lock: other instances treat a spec without it as one of a dead worker."""
        self.restored = 0
        """Number of times that another program removed the spec, and it was written again."""
        self._spec_problem = ""
        self._list_problem = ""
        self._stale_removed = False

    @property
    def failures(self) -> int:
        """The number of failed writes."""
        return self._manifest.failures

    def list_problems(self, pool: PoolSpec) -> tuple[str, ...]:
        """Return the problems for the status."""
        unusable = cdi.unsupported_reason(pool) if self._mode != "off" else None
        problems = (unusable, self._spec_problem, self._list_problem)
        return tuple(problem for problem in problems if problem)

    # Device-info files

    def write_info(self, answer: DeviceAllocation) -> str:
        """Write the device's file; return the error, or nothing. May block."""
        if answer.file is None:
            return ""
        place = self._infos / answer.file.name
        # No flush: it costs 3.6 ms for each file on a disk, the folder of these files does not
        # survive a boot, and no container gets a device before this worker has written its file.
        problem = self._manifest.write_file(place, answer.file.text, devinfo.MODE, flush=False)
        return f"its device-info file can't be written: {problem}" if problem else ""

    # The spec

    def uses_cdi(self, pool: PoolSpec) -> bool:
        """Return True if the pool's devices are claimed from the runtime."""
        return self._mode != "off" and cdi.unsupported_reason(pool) is None

    def needs_spec(self, pool: PoolSpec) -> bool:
        """Return True if a spec is required, such as for containers with its names."""
        claimed = self._mode != "off" or self._held.claimed
        return claimed and cdi.unsupported_reason(pool) is None

    @property
    def spec_folder(self) -> Path:
        """The folder of specs."""
        return self._specs

    def take_holders(self, holders: SpecHolders) -> bool:
        """Take the use of the spec by pods; return True if it has changed."""
        before, self._held = self._held, holders
        return before != holders

    def restore_spec(self) -> None:
        """Write the spec again if another program has removed it."""
        place = self._spec_place
        if place is None or place.exists():
            return
        if self._write is not None and not self._write.done():
            # It may be on its way, or removed again while it was flushed: see when that has ended.
            self._write.add_done_callback(lambda _: self.restore_spec())
            return
        self.restored += 1
        log.warning("the CDI spec was removed and is written again", extra={"path": str(place)})
        text = self._spec_text
        self._write = asyncio.get_running_loop().run_in_executor(
            self._thread, self._write_in_thread, place, text
        )
        self._write.add_done_callback(lambda _: self._on_settled())

    @property
    def spec_missing(self) -> bool:
        """True if a spec is required and can't be written."""
        return self._spec_problem != ""

    async def write_spec(
        self, pool: PoolSpec, answers: Mapping[DeviceId, DeviceAllocation]
    ) -> None:
        """Write a spec with these devices; then ``spec_problem`` is up to date."""
        before = self._spec_place, self._in_spec, self._spec_problem
        await self._update_spec(pool, answers)
        self.version += (self._spec_place, self._in_spec, self._spec_problem) != before

    async def _update_spec(
        self, pool: PoolSpec, answers: Mapping[DeviceId, DeviceAllocation]
    ) -> None:
        if not self.needs_spec(pool):
            self._spec_problem, self._spec_place, self._in_spec = "", None, {}
            return
        place = self._specs / cdi.file_names(pool)[pool.device_type]
        text = cdi.spec_text(pool, answers.values())
        why = "" if text is None else await self._write_in_time(place, text)
        problem = f"its CDI spec can't be written: {why}" if why else ""
        if problem and problem != self._spec_problem:
            log.error(problem)
        self._spec_problem = problem
        if not problem:
            self._spec_place, self._in_spec = (None if text is None else place), answers
            self._spec_text = text or ""
        elif self._spec_place != place:
            self._spec_place, self._in_spec = None, {}

    def spec_problem(self, pool: PoolSpec, answer: DeviceAllocation) -> str:
        """Return the reason why a device can't be claimed although it has to be; else empty."""
        if not self.uses_cdi(pool) or not cdi.has_edits(answer):
            return ""
        there = self._in_spec.get(answer.id)
        if there and (there.nodes, there.mounts) == (answer.nodes, answer.mounts):
            return ""
        return self._spec_problem or "it is not in the pool's CDI spec yet"

    async def _write_in_time(self, place: Path, text: str) -> str:
        late = f"{place}: not written within {SPEC_TIMEOUT_S:g} s"
        if self._write is not None and not self._write.done():
            return late
        loop = asyncio.get_running_loop()
        self._write = loop.run_in_executor(self._thread, self._write_in_thread, place, text)
        done, _ = await asyncio.wait({self._write}, timeout=SPEC_TIMEOUT_S)
        return self._write.result() if done else late

    def _write_in_thread(self, place: Path, text: str) -> str:
        problem = self._manifest.write_file(place, text, cdi.FILE_MODE, flush=True)
        if not problem:
            self._claim.lock_file(place)
        return problem

    # Cleanup, and the list of files

    def collect_garbage(self, pool: PoolSpec, devices: Iterable[DeviceId]) -> None:
        """Start to remove files that are not used any more, and to save the list."""
        self._latest = (pool, tuple(devices))
        if self._collection is not None and not self._collection.done():
            self._outdated = True
            return
        self._outdated = False
        if self._retry is not None:
            self._retry.cancel()
        kept = []
        if pool.device_type == "netDevice":
            kept = [self._infos / devinfo.file_name(pool, device) for device in devices]
        needed = self.needs_spec(pool) and (self._spec_place or self._spec_problem)
        if needed or self._held.any:
            # A spec of an earlier worker is better than none while the new one can't be written.
            kept.append(self._specs / cdi.file_names(pool)[pool.device_type])
        elif self._spec_place is not None:
            self._spec_place, self._in_spec = None, {}  # a removed spec is not restored
        loop = asyncio.get_running_loop()
        self._collection = loop.run_in_executor(self._thread, self._collect_in_thread, pool, kept)
        self._collection.add_done_callback(self._collected)

    def _collected(self, settled: asyncio.Future[None]) -> None:
        if settled.cancelled():
            return
        settled.result()
        self._on_settled()
        if self._outdated and self._latest is not None:
            self.collect_garbage(*self._latest)
        elif self._list_problem and self._latest is not None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(MANIFEST_RETRY_S, self.collect_garbage, *self._latest)

    async def close(self, within_s: float, *, save: bool = True) -> None:
        """Save the list at the end of the worker; the last write may block.

        ``save``: True if the pool, and with it the list, still belongs to this worker. A running
        write ends first: a file that it adds later would be missing in the list.
        """
        self._latest = None  # nothing is settled after this
        if self._retry is not None:
            self._retry.cancel()
        writing = {one for one in (self._write, self._collection) if one is not None}
        if writing:
            await asyncio.wait(writing, timeout=within_s)
        if not save:
            return
        self._save_manifest()
        if self._list_problem:
            log.error(
                "what lies on the host is not written down", extra={"why": self._list_problem}
            )

    def _save_manifest(self) -> None:
        self._list_problem = self._manifest.save_list()

    def _collect_in_thread(self, pool: PoolSpec, kept: list[Path]) -> None:
        self._manifest.drop_others(kept)
        if not self._stale_removed:  # files of a life whose list is lost
            self._stale_removed = True
            self._manifest.remove_stale((self._infos, self._specs))
            for name in cdi.file_names(pool).values():
                if self._specs / name not in kept:
                    remove_marked(self._specs / name, cdi.header_line(pool))
        self._save_manifest()

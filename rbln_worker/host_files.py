"""Host files of a pool: a device-info file for each device, and its CDI spec.

They are written when their contents change, never in a call: a device is allocated only once its
files exist. A write can wait for a disk, so it runs in a thread: of the prober, or of this module.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation import cdi, devinfo
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.step.effects import SettleFiles, WriteSpec
from rbln_worker.core.step.events import FilesSettled, SpecWritten
from rbln_worker.host.manifest import FileClaim, FileManifest, remove_unlocked
from rbln_worker.spec import WorkerSpec, below_root

SPEC_TIMEOUT_S: Final = 5.0
"""Time-out of writing a spec, in seconds."""

log = logging.getLogger(__name__)


class HostFiles:
    """The pool's files on the host, and problems with them."""

    def __init__(
        self, boot: WorkerSpec, *, post: Callable[[SpecWritten | FilesSettled], None]
    ) -> None:
        """``post`` takes events."""
        self._post = post
        self._infos = below_root(boot.root, devinfo.FOLDER)
        self.spec_folder = boot.spec_folder
        """The folder of specs."""
        self._manifest = FileManifest(boot.manifest_path)
        # One thread, so that an older spec never replaces a newer one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._write: asyncio.Future[str] | None = None
        self._collection: asyncio.Future[None] | None = None
        self._latest: SettleFiles | None = None
        """A request that came while files were settled."""
        self._written: tuple[Path, str] | None = None
        """The path and the text of the spec that claims refer to."""
        self._claim = FileClaim()
        """A lock: other instances treat a spec without it as one of a dead worker."""
        self.restored = 0
        """Number of times that another program removed the spec, and it was written again."""
        self._problem = ""
        """The problem with the list of files."""
        self._stale_removed = False

    @property
    def failures(self) -> int:
        """The number of failed writes."""
        return self._manifest.failures

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

    def restore_spec(self) -> None:
        """Write the spec again if another program has removed it."""
        if self._written is None or self._written[0].exists():
            return
        if self._write is not None and not self._write.done():
            # It may be on its way, or removed again while it was flushed: see when that has ended.
            self._write.add_done_callback(lambda _: self.restore_spec())
            return
        self.restored += 1
        place, text = self._written
        log.warning("the CDI spec was removed and is written again", extra={"path": str(place)})
        self._write = asyncio.get_running_loop().run_in_executor(
            self._thread, self._write_in_thread, place, text
        )
        self._write.add_done_callback(lambda _: self._post_settled())

    async def write_spec(self, spec: WriteSpec) -> None:
        """Write a spec, and post the result."""
        place = self.spec_folder / spec.name
        problem = await self._write_in_time(place, spec.text)
        if not problem:
            self._written = place, spec.text
        elif self._written and self._written[0] != place:
            self._written = None
        self._post(SpecWritten(problem))

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

    def collect_garbage(self, request: SettleFiles) -> None:
        """Start to remove files that are not used any more, and to save the list."""
        if not request.keep_spec:
            self._written = None  # a removed spec is not restored
        if self._collection is not None and not self._collection.done():
            self._latest = request
            return
        self._latest = None
        pool, kept = request.pool, []
        if pool.device_type == "netDevice":
            kept = [self._infos / devinfo.file_name(pool, device) for device in request.devices]
        if request.keep_spec:
            kept.append(self.spec_folder / cdi.file_names(pool)[pool.device_type])
        loop = asyncio.get_running_loop()
        self._collection = loop.run_in_executor(self._thread, self._collect_in_thread, pool, kept)
        self._collection.add_done_callback(self._collected)

    def _collected(self, settled: asyncio.Future[None]) -> None:
        if settled.cancelled():
            return
        settled.result()
        self._post_settled()
        if self._latest is not None:
            self.collect_garbage(self._latest)

    def _post_settled(self) -> None:
        self._post(FilesSettled(self._problem))

    async def close(self, within_s: float, *, save: bool = True) -> None:
        """Save the list at the end of the worker; the last write may block.

        ``save``: True if the pool, and with it the list, still belongs to this worker. A running
        write ends first: a file that it adds later would be missing in the list.
        """
        self._latest = None  # nothing is settled after this
        writing = {one for one in (self._write, self._collection) if one is not None}
        if writing:
            await asyncio.wait(writing, timeout=within_s)
        if not save:
            return
        self._problem = self._manifest.save_list()
        if self._problem:
            log.error("cannot save the list of host files", extra={"why": self._problem})

    def _collect_in_thread(self, pool: PoolSpec, kept: list[Path]) -> None:
        self._manifest.drop_others(kept)
        if not self._stale_removed:  # files of a life whose list is lost
            self._stale_removed = True
            self._manifest.remove_stale((self._infos, self.spec_folder))
            for name in cdi.file_names(pool).values():
                if self.spec_folder / name not in kept:
                    remove_unlocked(self.spec_folder / name, cdi.header_line(pool))
        self._problem = self._manifest.save_list()

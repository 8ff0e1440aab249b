"""Threads of health checks, because reads of a device's files may never return.

This is the only place of a worker with threads of its own for reads, except for the list of RSD
groups (rbln_worker/dra/rsd_tool.py): a read of a sysfs or procfs file blocks in the kernel,
whatever the flags of the descriptor, and poll can't predict it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.health.inspect import DeviceInspector
from rbln_worker.host.facts import Reader

BATCH_WAIT_S: Final = 0.1
"""Seconds for which quick devices wait for others, so that all results come in one message."""
CHECK_TIMEOUT_S: Final = 5.0
"""Time-out of a device's health check, in seconds; then the device is Unknown."""
SLOTS: Final = 4
"""Number of threads that check at the same time, without those that hang."""
DEVICES_PER_THREAD: Final = 32
"""Number of devices for each thread, as long as no thread hangs."""
HANG_AFTER_S: Final = 0.1
"""Seconds at one device after which a thread counts as hanging, and its slot is free."""
MAX_HANGING: Final = 64
"""Maximum number of hanging threads; then there are no further checks."""


class _CheckBatch:
    """A check of several devices by several threads: each takes the next device when it is free.

    A deque's ends are safe to use from several threads, and so is one attribute.
    """

    def __init__(
        self, reader: Reader, chosen: Iterable[Device], pool: PoolSpec, depth: Depth
    ) -> None:
        self.reader = reader
        self.pool = pool
        self.depth = depth
        self.todo = deque(chosen)
        self.done: deque[tuple[DeviceId, CheckResult | None, float | None]] = deque()
        """Device, result, and duration in seconds if all files were read."""
        self.pending = {device.id for device in self.todo}
        """Devices without a reported result."""
        self.slots = 0
        """Threads that work on it, or are going to."""
        self.failure: BaseException | None = None
        """An unhandled error in a thread."""
        self._slot_done = asyncio.Event()

    def slot_ended(self) -> None:
        """Record that a thread has ended."""
        self.slots -= 1
        self._slot_done.set()

    async def wait_for_slot(self, within_s: float | None) -> None:
        """Wait until a thread has ended, or for ``within_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._slot_done.wait()
        self._slot_done.clear()


class _ThreadSlot:
    """A thread's share of a check."""

    def __init__(self, batch: _CheckBatch) -> None:
        self.batch = batch
        self.began = monotonic()
        """The start of the check of the current device."""
        self.hangs = False
        self.watch: asyncio.TimerHandle | None = None


class Prober:
    """Health checks in threads, one check of a device at a time."""

    def __init__(
        self,
        root: Path,
        *,
        host_visible: bool,
        write_info: Callable[[DeviceAllocation], str],
        tally: WorkerCounters,
        check_timeout_s: float = CHECK_TIMEOUT_S,
        max_hanging: int = MAX_HANGING,
    ) -> None:
        """Check below ``root``; ``write_info`` writes a device's file and returns any error."""
        self._root = root
        self._host_visible = host_visible
        self._inspector = DeviceInspector(write_info)
        self._counters = tally
        self._check_timeout_s = check_timeout_s
        self._no_answer = CheckResult(evidence.timeout_evidence(check_timeout_s))
        self._max_hanging = max_hanging
        self._hanging = 0
        self._threads = ThreadPoolExecutor(SLOTS + max_hanging, thread_name_prefix="probe")
        self._free = SLOTS
        self._waiting: deque[_CheckBatch] = deque()
        """Checks that wait for a slot."""
        self._in_progress: set[DeviceId] = set()
        self._silent: set[DeviceId] = set()
        """Devices that are reported as not answering."""
        self._requested_meanwhile: set[DeviceId] = set()
        """Devices requested during a check, which may have read the state before."""

    async def check_devices(
        self, devices: Iterable[Device], pool: PoolSpec, depth: Depth = Depth.FULL
    ) -> AsyncIterator[Mapping[DeviceId, CheckResult]]:
        """Yield results as they come: those of quick devices together, then the late ones.

        A device that does not answer in time gets a time-out result, and its real result later. A
        device whose last check still runs is ``requested_meanwhile``, and a device whose files are
        unchanged has no result, except at full depth.
        """
        wanted = {device.id: device for device in devices if device.gone is None}
        self._requested_meanwhile |= wanted.keys() & self._in_progress
        silent = dict.fromkeys(wanted.keys() & self._silent, self._no_answer)
        chosen = [device for device in wanted.values() if device.id not in self._in_progress]
        self._in_progress.update(device.id for device in chosen)
        reader = Reader(self._root, host_visible=self._host_visible)
        batch = _CheckBatch(reader, chosen, pool, depth)
        began = monotonic()
        self._add_slots(batch, min(SLOTS, -(-len(chosen) // DEVICES_PER_THREAD)))
        while batch.slots and monotonic() < began + BATCH_WAIT_S:
            await batch.wait_for_slot(began + BATCH_WAIT_S - monotonic())
        yield {**silent, **self._take_results(batch)}
        timeout_reported = False
        while batch.pending:
            wait = HANG_AFTER_S
            if not batch.todo and monotonic() - began > BATCH_WAIT_S + HANG_AFTER_S:
                # the remaining ones hang
                wait = began + self._check_timeout_s - monotonic()
            await batch.wait_for_slot(None if timeout_reported else wait)
            if found := self._take_results(batch):
                yield found
            if not timeout_reported and monotonic() >= began + self._check_timeout_s:
                timeout_reported = True
                self._silent |= batch.pending
                self._inspector.forget_results(batch.pending)
                yield dict.fromkeys(batch.pending, self._no_answer)

    @property
    def in_progress(self) -> frozenset[DeviceId]:
        """Devices whose check is running, and may miss a change that happens now."""
        return frozenset(self._in_progress)

    def requested_meanwhile(self) -> set[DeviceId]:
        """Return devices to check again: requested during a check that has ended."""
        ended = self._requested_meanwhile - self._in_progress
        self._requested_meanwhile -= ended
        return ended

    def _take_results(self, batch: _CheckBatch) -> dict[DeviceId, CheckResult]:
        """Return the results since the last call."""
        if batch.failure is not None:
            raise batch.failure  # ends this worker
        found = {}
        while batch.done:
            device, finding, took_s = batch.done.popleft()
            if finding is not None:
                found[device] = finding
            batch.pending.discard(device)
            self._in_progress.discard(device)
            self._silent.discard(device)
            if took_s is not None:
                self._counters.count_check(took_s)
        return found

    def _add_slots(self, batch: _CheckBatch, count: int) -> None:
        batch.slots += count
        self._waiting.extend([batch] * count)
        self._start_waiting()

    def _start_waiting(self) -> None:
        # Callbacks instead of a task for each thread: iterations are most of a quick check's cost.
        while self._waiting and self._free:
            batch = self._waiting.popleft()
            if self._hanging < self._max_hanging:
                self._start_thread(batch)
                continue
            skipped = CheckResult(evidence.skipped_evidence(self._hanging))
            self._inspector.forget_results(device.id for device in batch.todo)
            while batch.todo:
                batch.done.append((batch.todo.popleft().id, skipped, None))
            batch.slot_ended()

    def _start_thread(self, batch: _CheckBatch) -> None:
        """Start a thread that works until no device is left."""
        loop = asyncio.get_running_loop()

        def ended(done: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._thread_ended, slot, done.exception())

        self._free -= 1
        slot = _ThreadSlot(batch)
        self._watch_slot(slot)
        self._threads.submit(self._check_in_thread, slot).add_done_callback(ended)

    def _watch_slot(self, slot: _ThreadSlot) -> None:
        """Give the slot to another thread if this one hangs."""
        left_s = slot.began + HANG_AFTER_S - monotonic()
        if left_s > 0:
            slot.watch = asyncio.get_running_loop().call_later(left_s, self._watch_slot, slot)
            return
        slot.hangs = True
        self._free += 1
        self._hanging += 1
        self._counters.hung += 1
        self._counters.hanging = self._hanging
        self._add_slots(slot.batch, min(SLOTS, len(slot.batch.todo)))

    def _thread_ended(self, slot: _ThreadSlot, failure: BaseException | None) -> None:
        if slot.hangs:
            self._hanging -= 1
            self._counters.hanging = self._hanging
        else:
            self._free += 1
        if slot.watch is not None:
            slot.watch.cancel()
        slot.batch.failure = slot.batch.failure or failure
        slot.batch.slot_ended()
        self._start_waiting()

    # In a thread

    def _check_in_thread(self, slot: _ThreadSlot) -> None:
        batch = slot.batch
        while True:
            try:
                device = batch.todo.popleft()
            except IndexError:
                return
            slot.began = monotonic()
            found = self._inspector.check_device(batch.reader, device, batch.pool, batch.depth)
            is_whole = found is not None or batch.depth is Depth.IF_CHANGED
            batch.done.append((device.id, found, monotonic() - slot.began if is_whole else None))

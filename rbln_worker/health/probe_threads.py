"""Threads of health checks, because reads of a device's files may never return.

This is the only place of a worker with threads of its own for reads: a read of a sysfs or procfs
file blocks in the kernel, whatever the flags of the descriptor, and poll can't predict it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import Final

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.counters import Counters
from rbln_worker.core.health import evidence
from rbln_worker.health.inspect import DeviceInspector, Finding
from rbln_worker.host.facts import Reader

SOON_S: Final = 0.1
"""Seconds for which quick devices wait for others, so that all results come in one message."""
ANSWER_WITHIN_S: Final = 5.0
"""Time-out of a device's health check, in seconds; then the device is Unknown."""
SLOTS: Final = 4
"""Number of threads that check at the same time, without those that hang."""
A_TURN: Final = 32
"""Number of devices for each thread, as long as no thread hangs."""
LATE_S: Final = 0.1
"""Seconds at one device after which a thread counts as hanging, and its slot is free."""
HANGING_MOST: Final = 64
"""Maximum number of hanging threads; then there are no further checks."""


class Depth(Enum):
    """The depth of a health check."""

    LOOK = "look"
    """Read and evaluate all files."""
    CHECK = "check"
    """Read all files; evaluate them if any has changed."""
    GLANCE = "glance"
    """Read files that change without a kernel event; check further if any has changed."""


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
        self.done: deque[tuple[DeviceId, Finding | None, float | None]] = deque()
        """Device, result, and duration in seconds if all files were read."""
        self.pending = {device.id for device in self.todo}
        """Devices without a reported result."""
        self.turns = 0
        """Threads that work on it, or are going to."""
        self.failure: BaseException | None = None
        """An unhandled error in a thread."""
        self._heard = asyncio.Event()

    def end_turn(self) -> None:
        """Record that a thread has ended."""
        self.turns -= 1
        self._heard.set()

    async def turn_ended(self, within_s: float | None) -> None:
        """Wait until a thread has ended, or for ``within_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._heard.wait()
        self._heard.clear()


class _ThreadSlot:
    """A thread's share of a check."""

    def __init__(self, look: _CheckBatch) -> None:
        self.look = look
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
        tally: Counters,
        answer_within_s: float = ANSWER_WITHIN_S,
        hanging_most: int = HANGING_MOST,
    ) -> None:
        """Check below ``root``; ``write_info`` writes a device's file and returns any error."""
        self._root = root
        self._host_visible = host_visible
        self._examiner = DeviceInspector(write_info)
        self._examine = {
            Depth.LOOK: self._examiner.look,
            Depth.CHECK: self._examiner.check,
            Depth.GLANCE: self._examiner.glance,
        }
        self._tally = tally
        self._answer_within_s = answer_within_s
        self._no_answer = Finding(evidence.silent(answer_within_s))
        self._hanging_most = hanging_most
        self._hanging = 0
        self._threads = ThreadPoolExecutor(SLOTS + hanging_most, thread_name_prefix="probe")
        self._free = SLOTS
        self._waiting: deque[_CheckBatch] = deque()
        """Checks that wait for a slot."""
        self._under_way: set[DeviceId] = set()
        self._silent: set[DeviceId] = set()
        """Devices that are reported as not answering."""
        self._missed: set[DeviceId] = set()
        """Devices requested during a check, which may have read the state before."""

    async def look(
        self, devices: Iterable[Device], pool: PoolSpec, depth: Depth = Depth.LOOK
    ) -> AsyncIterator[Mapping[DeviceId, Finding]]:
        """Yield results as they come: those of quick devices together, then the late ones.

        A device that does not answer in time gets a time-out result, and its real result later. A
        device whose last check still runs is ``missed``, and a device that a check or a glance
        finds unchanged has no result.
        """
        wanted = {device.id: device for device in devices if device.gone is None}
        self._missed |= wanted.keys() & self._under_way
        silent = dict.fromkeys(wanted.keys() & self._silent, self._no_answer)
        chosen = [device for device in wanted.values() if device.id not in self._under_way]
        self._under_way.update(device.id for device in chosen)
        reader = Reader(self._root, host_visible=self._host_visible)
        look = _CheckBatch(reader, chosen, pool, depth)
        began = monotonic()
        self._add_turns(look, min(SLOTS, -(-len(chosen) // A_TURN)))
        while look.turns and monotonic() < began + SOON_S:
            await look.turn_ended(began + SOON_S - monotonic())
        yield {**silent, **self._told(look)}
        told_silent = False
        while look.pending:
            wait = LATE_S
            if not look.todo and monotonic() - began > SOON_S + LATE_S:  # the remaining ones hang
                wait = began + self._answer_within_s - monotonic()
            await look.turn_ended(None if told_silent else wait)
            if found := self._told(look):
                yield found
            if not told_silent and monotonic() >= began + self._answer_within_s:
                told_silent = True
                self._silent |= look.pending
                self._examiner.forget(look.pending)
                yield dict.fromkeys(look.pending, self._no_answer)

    @property
    def under_way(self) -> frozenset[DeviceId]:
        """Devices whose check is running, and may miss a change that happens now."""
        return frozenset(self._under_way)

    def missed(self) -> set[DeviceId]:
        """Return devices to check again: requested during a check that has ended."""
        ended = self._missed - self._under_way
        self._missed -= ended
        return ended

    def _told(self, look: _CheckBatch) -> dict[DeviceId, Finding]:
        """Return the results since the last call."""
        if look.failure is not None:
            raise look.failure  # ends this worker
        found = {}
        while look.done:
            device, finding, took_s = look.done.popleft()
            if finding is not None:
                found[device] = finding
            look.pending.discard(device)
            self._under_way.discard(device)
            self._silent.discard(device)
            if took_s is not None:
                self._tally.look(took_s)
        return found

    def _add_turns(self, look: _CheckBatch, count: int) -> None:
        look.turns += count
        self._waiting.extend([look] * count)
        self._begin_turns()

    def _begin_turns(self) -> None:
        # Callbacks instead of a task for each thread: loop iterations are most of a glance's cost.
        while self._waiting and self._free:
            look = self._waiting.popleft()
            if self._hanging < self._hanging_most:
                self._begin_turn(look)
                continue
            not_asked = Finding(evidence.not_asked(self._hanging))
            self._examiner.forget(device.id for device in look.todo)
            while look.todo:
                look.done.append((look.todo.popleft().id, not_asked, None))
            look.end_turn()

    def _begin_turn(self, look: _CheckBatch) -> None:
        """Start a thread that works until no device is left."""
        loop = asyncio.get_running_loop()

        def ended(done: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._turn_ended, turn, done.exception())

        self._free -= 1
        turn = _ThreadSlot(look)
        self._watch(turn)
        self._threads.submit(self._work, turn).add_done_callback(ended)

    def _watch(self, turn: _ThreadSlot) -> None:
        """Give the slot to another thread if this one hangs."""
        left_s = turn.began + LATE_S - monotonic()
        if left_s > 0:
            turn.watch = asyncio.get_running_loop().call_later(left_s, self._watch, turn)
            return
        turn.hangs = True
        self._free += 1
        self._hanging += 1
        self._tally.hung += 1
        self._tally.hanging = self._hanging
        self._add_turns(turn.look, min(SLOTS, len(turn.look.todo)))

    def _turn_ended(self, turn: _ThreadSlot, failure: BaseException | None) -> None:
        if turn.hangs:
            self._hanging -= 1
            self._tally.hanging = self._hanging
        else:
            self._free += 1
        if turn.watch is not None:
            turn.watch.cancel()
        turn.look.failure = turn.look.failure or failure
        turn.look.end_turn()
        self._begin_turns()

    # In a thread

    def _work(self, turn: _ThreadSlot) -> None:
        look = turn.look
        while True:
            try:
                device = look.todo.popleft()
            except IndexError:
                return
            turn.began = monotonic()
            found = self._examine[look.depth](look.reader, device, look.pool)
            is_whole = found is not None or look.depth is Depth.CHECK
            look.done.append((device.id, found, monotonic() - turn.began if is_whole else None))

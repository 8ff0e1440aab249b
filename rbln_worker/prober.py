"""Looking at the pool's devices, off the serving loop: their files may never answer.

The one place of a worker that uses threads: a read of a sysfs or procfs file blocks in the kernel,
whatever flags it was opened with, and no descriptor can tell beforehand.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.answer import DeviceAnswer, answer
from rbln_worker.core.facts import Facts
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.providers.offer import Question
from rbln_worker.core.providers.registry import needs
from rbln_worker.host.facts import Reader

SOON_S: Final = 0.1
"""How long the quick devices wait for the others, so that all come in one message."""
ANSWER_WITHIN_S: Final = 5.0
"""Nobody knows how a device is whose files took longer, until they answer."""
SLOTS: Final = 4
"""Looks at a time, without those that are late."""
LATE_S: Final = 0.1
"""A look that takes longer leaves its slot to others."""
HANGING_MOST: Final = 64
"""Late looks at a time, each with a thread of its own; beyond them nobody looks."""


class Finding(msgspec.Struct, frozen=True):
    """What a look at a device came to."""

    evidence: Evidence
    answer: DeviceAnswer | None = None
    """What a container would get; None where that was not found out."""
    unusable: str = ""
    """Why a container could not use that."""


class Prober:
    """Looks at devices, one look at a device at a time."""

    def __init__(
        self,
        root: Path,
        *,
        host_visible: bool,
        write_info: Callable[[DeviceAnswer], str],
        answer_within_s: float = ANSWER_WITHIN_S,
        hanging_most: int = HANGING_MOST,
    ) -> None:
        """Look below ``root``; ``write_info`` writes a device's file, or says why it can't be."""
        self._answer_within_s = answer_within_s
        self._hanging_most = hanging_most
        self._root = root
        self._write_info = write_info
        self._host_visible = host_visible
        self._threads = ThreadPoolExecutor(SLOTS + hanging_most, thread_name_prefix="probe")
        self._slots = asyncio.Semaphore(SLOTS)
        self._late = 0
        """Looks that gave their slot back and have not ended."""
        self._under_way: set[DeviceId] = set()
        self._no_answer = Finding(evidence.silent(answer_within_s))
        self._silent: set[DeviceId] = set()
        """Those of which it was said that they don't answer."""
        self._missed: set[DeviceId] = set()
        """Asked for while a look was under way, which may have seen what was before."""

    async def look(
        self, devices: Iterable[Device], pool: PoolSpec
    ) -> AsyncIterator[Mapping[DeviceId, Finding]]:
        """Findings as they come: those of quick devices together, then each late one.

        A device that does not answer in time gets a finding that says so, and its real one later.
        One whose last look is still under way is ``missed``.
        """
        wanted = {device.id: device for device in devices if device.gone is None}
        self._missed |= wanted.keys() & self._under_way
        silent = dict.fromkeys(wanted.keys() & self._silent, self._no_answer)
        chosen = [device for device in wanted.values() if device.id not in self._under_way]
        self._under_way.update(device.id for device in chosen)
        reader = Reader(self._root, host_visible=self._host_visible)
        looks = {
            asyncio.create_task(self._one(reader, device, pool)): device.id for device in chosen
        }
        done: set[asyncio.Task[Finding]] = set()
        pending = set(looks)
        began = asyncio.get_running_loop().time()
        if pending:
            done, pending = await asyncio.wait(pending, timeout=SOON_S)
        yield {**silent, **self._ended(looks, done)}
        deadline: float | None = began + self._answer_within_s
        while pending:
            now = asyncio.get_running_loop().time()
            done, pending = await asyncio.wait(
                pending,
                timeout=None if deadline is None else max(0.0, deadline - now),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done:
                yield self._ended(looks, done)
            else:
                deadline = None
                silent = {looks[look]: self._no_answer for look in pending}
                self._silent |= silent.keys()
                yield silent

    def _ended(
        self,
        looks: Mapping[asyncio.Task[Finding], DeviceId],
        done: Iterable[asyncio.Task[Finding]],
    ) -> Mapping[DeviceId, Finding]:
        found = {looks[look]: look.result() for look in done}
        self._under_way -= found.keys()
        self._silent -= found.keys()
        return found

    def missed(self) -> set[DeviceId]:
        """Whom to look at again: their looks have ended, and somebody asked meanwhile."""
        ended = self._missed - self._under_way
        self._missed -= ended
        return ended

    async def _one(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        loop = asyncio.get_running_loop()
        async with self._slots:
            if self._late >= self._hanging_most:
                return Finding(evidence.not_asked(self._late))
            look = loop.run_in_executor(self._threads, self._examine, reader, device, pool)
            await asyncio.wait({look}, timeout=LATE_S)
            self._late += not look.done()
        if look.done():
            return look.result()
        try:
            return await look
        finally:
            self._late -= 1

    def _examine(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        told = answer(Question(device, pool, reader.read(needs(device, pool))))
        missing = reader.missing(node.host for node in told.nodes)
        unusable = evidence.unusable(told, missing)
        unwritten = "" if unusable else self._write_info(told)
        asked = evidence.needs(device, told)
        further = evidence.awake_needs(device, reader.read(asked))
        facts = reader.read((*asked, *further))
        found = evidence.gather(device, told, facts, unusable=unusable, unwritten=unwritten)
        return Finding(found, told, unusable or unwritten)


def unread(device: Device, pool: PoolSpec) -> DeviceAnswer:
    """The answer for a device that nobody has looked at yet: what is known of it without files."""
    return answer(Question(device, pool, Facts()))

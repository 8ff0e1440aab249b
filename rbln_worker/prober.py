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
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.answer import DeviceAnswer, answer
from rbln_worker.core.facts import Facts
from rbln_worker.core.health import UNREAD, judge, silent
from rbln_worker.core.providers.offer import Question
from rbln_worker.core.providers.registry import needs
from rbln_worker.host.facts import Reader

SOON_S: Final = 0.1
"""How long the quick devices wait for the others, so that all come in one message."""
ANSWER_WITHIN_S: Final = 5.0
"""A device whose files took longer is not healthy until they answer."""
_THREADS: Final = 4


class Finding(msgspec.Struct, frozen=True):
    """What a look at a device came to."""

    verdict: Verdict
    answer: DeviceAnswer


class Prober:
    """Looks at devices; one whose last look still hangs is not looked at again until it ends."""

    def __init__(
        self, root: Path, *, host_visible: bool, write_info: Callable[[DeviceAnswer], str]
    ) -> None:
        """Look below ``root``; ``write_info`` writes a device's file, or says why it can't be."""
        self._root = root
        self._write_info = write_info
        self._host_visible = host_visible
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="probe")
        self._hanging: set[DeviceId] = set()

    async def look(
        self, devices: Iterable[Device], pool: PoolSpec
    ) -> AsyncIterator[Mapping[DeviceId, Finding]]:
        """Findings as they come: those of quick devices together, then each late one.

        A device that does not answer in time gets a finding that says so, and its real one later.
        """
        loop = asyncio.get_running_loop()
        chosen = [device for device in devices if device.id not in self._hanging]
        found = {device.id: _unlooked(device, pool) for device in chosen if device.gone is not None}
        reader = Reader(self._root, host_visible=self._host_visible)
        looks = {
            loop.run_in_executor(self._threads, self._examine, reader, device, pool): device
            for device in chosen
            if device.gone is None
        }
        pending = set(looks)
        if pending:
            done, pending = await asyncio.wait(pending, timeout=SOON_S)
            found.update({looks[look].id: look.result() for look in done})
        yield found
        for look in pending:
            self._hanging.add(looks[look].id)
        left: float | None = ANSWER_WITHIN_S - SOON_S
        since = loop.time()
        while pending:
            done, pending = await asyncio.wait(
                pending,
                timeout=None if left is None else max(0.0, since + left - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._hanging -= {looks[look].id for look in done}
            yield {looks[look].id: look.result() for look in done}
            if not done:
                left = None
                yield {looks[look].id: _unlooked(looks[look], pool) for look in pending}

    def _examine(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        told = answer(Question(device, pool, reader.read(needs(device, pool))))
        missing = reader.missing(node.host for node in told.nodes)
        verdict = judge(device, told, missing)
        if verdict.healthy and (problem := self._write_info(told)):
            verdict = Verdict(healthy=False, reason=problem)
        return Finding(verdict, told)


def _unlooked(device: Device, pool: PoolSpec) -> Finding:
    told = answer(Question(device, pool, Facts()))
    if device.gone is not None:
        return Finding(judge(device, told, ()), told)
    return Finding(silent(ANSWER_WITHIN_S), told)


def unread(device: Device, pool: PoolSpec) -> Finding:
    """The finding on a device that nobody has looked at yet."""
    return Finding(UNREAD, answer(Question(device, pool, Facts())))

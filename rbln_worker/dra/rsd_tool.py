"""RSD groups of the node: the vendor's tool, its lock file, and the driver's list of groups.

The vendor's programs hold a lock (flock) on one file while they change groups; so do we, for each
change with the reads that it is based on. Everything has a time-out: the tool may hang where a
device does. Its process group is killed then.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rbln_worker.core.dra.rsd import (
    DEFAULT_GROUP,
    GroupPlan,
    Groups,
    RsdError,
    confirmed_orphans,
    create_arguments,
    orphan_groups,
    parse_group_file,
    plan_group,
    remove_arguments,
)
from rbln_worker.dra.tool_process import GROUP_FILE, run_tool
from rbln_worker.process.file_lock import try_lock

MAX_BYTES: Final = 1 << 20
_LOCK_POLL_S: Final = 0.02
_LOCK_PAUSE_S: Final = 0.05
"""Time in which other programs can take the lock after this one has released it."""

log: Final = logging.getLogger("rbln.worker.rsd")


class Timeouts(NamedTuple):
    """Limits in seconds."""

    change: float = 25.0
    """Of a change with all its waits: the kubelet waits 45 s for a prepared claim."""
    tool: float = 8.0
    """Of one call of the tool, or one read of the driver's list."""
    lock: float = 8.0


DEFAULT_TIMEOUTS: Final = Timeouts()


class RsdGroups:
    """The RSD groups of the node."""

    def __init__(
        self, tool: Path, lock: Path, root: Path, timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self._timeouts = timeouts
        self._tool = tool
        self._lock = lock
        self._root = root
        self._turn = asyncio.Lock()
        """Held during a change or read: those of this process wait in order."""
        self._released = 0.0
        """The time at which the lock was released."""
        self._read: asyncio.Future[str | OSError] | None = None
        """The last read of the driver's list; it never ends where the driver hangs."""

    async def make_group(self, npus: Sequence[str], free: Collection[str]) -> int:
        """Make one group of these NPUs; return its ID. A group that exists already is kept.

        Raises RsdError, as the other methods do.

        Args:
            npus: names such as ``rbln0``.
            free: NPUs without a holder; no group with another one is touched.
        """
        async with self._exclusive("no RSD group"):
            return await self._make_locked(npus, free)

    async def destroy_group(self, group: int, npus: Collection[str]) -> None:
        """Remove a group if all its members are of these; it may be gone, or another's."""
        async with self._exclusive(f"RSD group {group} not removed"):
            await self._destroy_locked(group, frozenset(npus))

    async def remove_orphans(
        self, earlier: Groups, free_npus: Callable[[], Awaitable[Collection[str]]]
    ) -> Groups:
        """Remove groups that nobody uses, and did not at the earlier call; return the others.

        ``free_npus`` returns the NPUs of the pool that nobody holds. It is called when no other
        program can change groups any more.
        """
        async with self._exclusive("RSD groups not checked"):
            groups = await self._read_groups()
            if not groups.keys() - {DEFAULT_GROUP}:
                return {}
            orphans = dict(orphan_groups(groups, await free_npus()))
            for group, members in confirmed_orphans(earlier, orphans).items():
                await self._destroy_locked(group, members)
                del orphans[group]
            return orphans

    async def _make_locked(self, npus: Sequence[str], free: Collection[str]) -> int:
        """Make a group; plan again if it failed because another program has changed groups.

        Not all programs honour the lock, and the tool of a killed worker goes on without it.
        """
        tried: GroupPlan | None = None
        while True:
            groups = await self._read_groups()
            plan = plan_group(npus, groups, free)
            if plan.exists:
                return plan.group
            for stale in plan.stale:
                await self._destroy_locked(stale, groups[stale])
            try:
                await self._create_group(plan.group, npus)
            except RsdError:
                if plan == tried:
                    raise
                tried = plan
            else:
                return plan.group

    async def _create_group(self, group: int, npus: Sequence[str]) -> None:
        """Call the tool; it may fail after it has made a group, or fail without a word."""
        failure = await self._try_tool(create_arguments(group, npus))
        members = (await self._read_groups()).get(group, frozenset())
        if members == frozenset(npus):
            log.info("RSD group created", extra={"group": group, "npus": ",".join(npus)})
            return
        if members and members <= frozenset(npus):  # half of it
            await self._destroy_locked(group, members)
        names = ",".join(npus)
        raise failure or RsdError(f"{self._tool.name} made no RSD group {group} of {names}")

    async def _destroy_locked(self, group: int, npus: frozenset[str]) -> None:
        members = (await self._read_groups()).get(group, frozenset())
        if not members or not members <= npus:
            return
        failure = await self._try_tool(remove_arguments(group))
        if (await self._read_groups()).get(group) == members:
            raise failure or RsdError(f"{self._tool.name} did not remove RSD group {group}")
        log.info("RSD group removed", extra={"group": group, "npus": ",".join(sorted(members))})

    async def _try_tool(self, arguments: Sequence[str]) -> RsdError | None:
        try:
            await run_tool(self._tool, arguments, self._timeouts.tool)
        except RsdError as error:
            return error
        return None

    @contextlib.asynccontextmanager
    async def _exclusive(self, failure: str) -> AsyncIterator[None]:
        """Let no other change of groups begin; ``failure``: what did not happen in time."""
        limit_s = self._timeouts.change
        try:
            async with asyncio.timeout(limit_s), self._turn, self._locked():
                yield
        except TimeoutError as error:
            raise RsdError(f"{failure} within {limit_s:g} s") from error

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Hold the vendor's lock."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = os.open(self._lock, flags, 0o644)
        except OSError as error:
            raise RsdError(f"{self._lock}: {error.strerror}") from error
        try:
            # Others ask for the lock now and then: this process lets them have it in between.
            await asyncio.sleep(self._released + _LOCK_PAUSE_S - asyncio.get_running_loop().time())
            await self._wait_for_lock(file)
            yield
        finally:
            os.close(file)  # releases the lock: no child has inherited it
            self._released = asyncio.get_running_loop().time()

    async def _wait_for_lock(self, file: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.lock
        while not try_lock(file):
            if loop.time() >= deadline:
                raise RsdError(
                    f"{self._lock}: held by another program for {self._timeouts.lock:g} s"
                )
            await asyncio.sleep(_LOCK_POLL_S)

    async def _read_groups(self) -> Groups:
        """Read the driver's list in a thread of its own: it never ends where the driver hangs."""
        path = self._root / GROUP_FILE
        if self._read is not None and not self._read.done():
            raise RsdError(f"{path}: an earlier read has not ended")
        loop = asyncio.get_running_loop()
        result = self._read = loop.create_future()

        def read_file() -> None:
            found: str | OSError
            try:
                with path.open(errors="replace") as file:
                    found = file.read(MAX_BYTES)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(result.set_result, found)

        threading.Thread(target=read_file, name="rsd groups", daemon=True).start()
        await asyncio.wait({result}, timeout=self._timeouts.tool)
        if not result.done():
            raise RsdError(f"{path}: not read within {self._timeouts.tool:g} s")
        found = result.result()
        if isinstance(found, OSError):
            raise RsdError(f"{path}: {found.strerror}")
        return parse_group_file(found)

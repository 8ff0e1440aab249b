"""RSD groups of the node: the vendor's tool, its lock file, and the driver's list of groups.

The vendor's programs hold a lock (flock) on one file while they change groups; so do we, for each
change with the reads that it is based on. Everything has a time-out: the tool may hang where a
device does. Its process group is killed then.
"""

import asyncio
import contextlib
import fcntl
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
    RsdFailure,
    confirmed_orphans,
    create_arguments,
    orphan_groups,
    parse_group_file,
    parse_tool_output,
    plan_group,
    remove_arguments,
)
from rbln_worker.dra.tool_process import run_tool

GROUP_FILE: Final = "sys/class/rebellions/rsd/rsd_group"
"""The driver's list of groups, below the root; without it the tool is asked."""
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

    async def make_group(self, npus: Sequence[str], free: Collection[str]) -> int | RsdFailure:
        """Make one group of these NPUs; return its ID. A group that exists already is kept.

        Args:
            npus: names such as ``rbln0``.
            free: NPUs without a holder; no group with another one is touched.
        """
        try:
            async with (
                asyncio.timeout(self._timeouts.change),
                self._turn,
                self._locked() as failure,
            ):
                return failure or await self._make_locked(npus, free)
        except TimeoutError:
            return RsdFailure(f"no RSD group within {self._timeouts.change:g} s")

    async def destroy_group(self, group: int, npus: Collection[str]) -> RsdFailure | None:
        """Remove a group if all its members are of these; None if it is gone or another's."""
        try:
            async with (
                asyncio.timeout(self._timeouts.change),
                self._turn,
                self._locked() as failure,
            ):
                return failure or await self._destroy_locked(group, frozenset(npus))
        except TimeoutError:
            return RsdFailure(f"RSD group {group} not removed within {self._timeouts.change:g} s")

    async def remove_orphans(
        self, earlier: Groups, free_npus: Callable[[], Awaitable[Collection[str]]]
    ) -> Groups | RsdFailure:
        """Remove groups that nobody uses, and did not at the earlier call; return the others.

        ``free_npus`` returns the NPUs of the pool that nobody holds. It is called when no other
        program can change groups any more.
        """
        try:
            async with (
                asyncio.timeout(self._timeouts.change),
                self._turn,
                self._locked() as failure,
            ):
                return failure or await self._remove_orphans_locked(earlier, free_npus)
        except TimeoutError:
            return RsdFailure(f"RSD groups not checked within {self._timeouts.change:g} s")

    async def _read_groups(self) -> Groups | RsdFailure:
        """Read the groups that exist: from the driver, else from the tool."""
        text = await self._read_group_file()
        if isinstance(text, str):
            return parse_group_file(text)
        if text is not None:
            return text
        output = await run_tool(self._tool, ("-g", "-j"), self._timeouts.tool, with_errors=False)
        return output if isinstance(output, RsdFailure) else parse_tool_output(output)

    async def _make_locked(self, npus: Sequence[str], free: Collection[str]) -> int | RsdFailure:
        """Make a group; plan again if it failed because another program has changed groups.

        Not all programs honour the lock, and the tool of a killed worker goes on without it.
        """
        tried: GroupPlan | None = None
        failure: RsdFailure | None = None
        while True:
            groups = await self._read_groups()
            if isinstance(groups, RsdFailure):
                return failure or groups
            plan = plan_group(npus, groups, free)
            if isinstance(plan, RsdFailure):
                return plan
            if plan.exists:
                return plan.group
            if failure is not None and plan == tried:
                return failure
            tried = plan
            for stale in plan.stale:
                if failure := await self._destroy_locked(stale, groups[stale]):
                    return failure
            made = await self._create_group(plan.group, npus)
            if isinstance(made, int):
                return made
            failure = made

    async def _create_group(self, group: int, npus: Sequence[str]) -> int | RsdFailure:
        """Call the tool; it may fail after it has made a group, or fail without a word."""
        made = await self._change_groups(create_arguments(group, npus))
        now = await self._read_groups()
        if isinstance(now, RsdFailure):
            return made if isinstance(made, RsdFailure) else now
        members = now.get(group, frozenset())
        if members == frozenset(npus):
            log.info("RSD group made", extra={"group": group, "npus": ",".join(npus)})
            return group
        if members and members <= frozenset(npus):  # half of it
            await self._destroy_locked(group, members)
        if isinstance(made, RsdFailure):
            return made
        return RsdFailure(f"{self._tool.name} made no RSD group {group} of {','.join(npus)}")

    async def _destroy_locked(self, group: int, npus: frozenset[str]) -> RsdFailure | None:
        groups = await self._read_groups()
        if isinstance(groups, RsdFailure):
            return groups
        members = groups.get(group, frozenset())
        if not members or not members <= npus:
            return None
        removed = await self._change_groups(remove_arguments(group))
        now = await self._read_groups()
        if isinstance(now, RsdFailure):
            return removed if isinstance(removed, RsdFailure) else now
        if now.get(group) != members:
            names = ",".join(sorted(members))
            log.info("RSD group removed", extra={"group": group, "npus": names})
            return None
        if isinstance(removed, RsdFailure):
            return removed
        return RsdFailure(f"{self._tool.name} did not remove RSD group {group}")

    async def _remove_orphans_locked(
        self, earlier: Groups, free_npus: Callable[[], Awaitable[Collection[str]]]
    ) -> Groups | RsdFailure:
        groups = await self._read_groups()
        if isinstance(groups, RsdFailure) or not groups.keys() - {DEFAULT_GROUP}:
            return groups if isinstance(groups, RsdFailure) else {}
        orphans = dict(orphan_groups(groups, await free_npus()))
        for group, members in confirmed_orphans(earlier, orphans).items():
            if failure := await self._destroy_locked(group, members):
                return failure
            del orphans[group]
        return orphans

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[RsdFailure | None]:
        """Hold the vendor's lock; yield a failure if it is not available."""
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._lock, flags, 0o644)
        except OSError as error:
            yield RsdFailure(f"{self._lock}: {error.strerror}")
            return
        try:
            # Others ask for the lock now and then: this process lets them have it in between.
            await asyncio.sleep(self._released + _LOCK_PAUSE_S - asyncio.get_running_loop().time())
            yield await self._wait_for_lock(file)
        finally:
            os.close(file)  # releases the lock: no child has inherited it
            self._released = asyncio.get_running_loop().time()

    async def _wait_for_lock(self, file: int) -> RsdFailure | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.lock
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if loop.time() >= deadline:
                    return RsdFailure(
                        f"{self._lock}: held by another program for {self._timeouts.lock:g} s"
                    )
                await asyncio.sleep(_LOCK_POLL_S)
            except OSError as error:
                return RsdFailure(f"{self._lock}: {error.strerror}")
            else:
                return None

    async def _read_group_file(self) -> str | RsdFailure | None:
        """Read the driver's list in a thread of its own; None if the driver has none."""
        path = self._root / GROUP_FILE
        if self._read is not None and not self._read.done():
            return RsdFailure(f"{path}: an earlier read has not ended")
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
            return RsdFailure(f"{path}: not read within {self._timeouts.tool:g} s")
        found = result.result()
        if isinstance(found, str):
            return found
        missing = isinstance(found, FileNotFoundError | NotADirectoryError)
        return None if missing else RsdFailure(f"{path}: {found.strerror}")

    async def _change_groups(self, arguments: Sequence[str]) -> bytes | RsdFailure:
        return await run_tool(self._tool, arguments, self._timeouts.tool, with_errors=True)

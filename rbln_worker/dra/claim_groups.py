"""RSD groups of claims: made at prepare, removed at unprepare; orphans are removed every minute."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.problem import Code, Problem, Severity, make_problem
from rbln_worker.core.dra.claim_entry import ClaimEntry
from rbln_worker.core.dra.rsd import Groups, RsdError
from rbln_worker.dra.checkpoint_file import ClaimFilesError
from rbln_worker.dra.rsd_tool import RsdGroups
from rbln_worker.dra.tool_process import LOCK_FILE, find_tool
from rbln_worker.kubelet.pod_resources import list_pod_devices
from rbln_worker.spec import below_root

RECHECK_INTERVAL_S: Final = 5.0
"""Seconds to the next check after the start, and while there are orphans or failures."""
CHECK_INTERVAL_S: Final = 60.0

ReadEntries = Callable[[], Awaitable[tuple[ClaimEntry, ...]]]
"""Reads the claims of this boot, those whose preparation has begun included."""

log: Final = logging.getLogger(__name__)


class ClaimGroups:
    """The RSD groups of a pool's claims."""

    def __init__(self, root: Path, pod_resources: Path, claimed: ReadEntries) -> None:
        """Make no groups as long as the host has no tool for them.

        Args:
            root: the prefix of the host's paths.
            pod_resources: the kubelet's socket, which has the devices that pods hold.
            claimed: reads the checkpoint.
        """
        self._root = root
        self._pod_resources = pod_resources
        self._claimed = claimed
        self._rsd: RsdGroups | None = None
        self._npus: Mapping[DeviceId, str] = {}
        self._orphans: Groups = {}
        """Those of the last check."""
        self._failure = ""
        self._suspected = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems for the status."""
        if self._failure:
            text = f"RSD groups: {self._failure}"
            return (make_problem(Code.RSD_MISSING, text, severity=Severity.WARNING),)
        if self._npus and self._rsd is None:
            text = "rbln-smi can't be used: all claims share the RSD group 0"
            return (make_problem(Code.RBLN_STAT_MISSING, text, severity=Severity.NOTE),)
        return ()

    def update_npus(self, npus: Mapping[DeviceId, str]) -> None:
        """Take the NPUs of the pool that belong into groups, such as ``rbln0``, by device.

        While an NPU had no name, its claim may have ended and left its group.
        """
        if npus.items() - self._npus.items():
            self.suspect_orphans()
        self._npus = npus

    def members_of(self, entry: ClaimEntry) -> Sequence[str]:
        """Return the NPUs of the claim's own group; empty if it gets none."""
        if not (entry.groups_npus and self._find_groups()):
            return ()
        return self._names_of(entry.own_devices)

    async def make_group(self, entry: ClaimEntry, members: Sequence[str]) -> int | None:
        """Make the group of a claim; return its ID, or None if the host has no tool any more.

        Raises RsdError, also if an NPU has lost its driver or got another number meanwhile.
        """
        rsd = self._find_groups()
        if rsd is None:
            return None
        # Its own pods hold them already if the checkpoint was lost.
        others = {
            DeviceId(one.device)
            for one in (await self._read_holders()).holdings
            if one.claim != entry.claim.text
        }
        free = await self._free_npus(others, besides=entry.uid)
        if members != self._names_of(entry.own_devices):
            raise RsdError(f"not all of {', '.join(members)} are its NPUs any more")
        try:
            with self._noted_failure():
                return await rsd.make_group(members, free)
        except RsdError:  # the tool may have made it
            self.suspect_orphans()
            raise

    async def remove_group(self, entry: ClaimEntry) -> None:
        """Remove the group of a claim that has ended; one that stays is an orphan from now on."""
        rsd = self._find_groups()
        if rsd is not None and entry.group is not None:
            npus = self._names_of(device.id for device in entry.devices)
            try:
                with self._noted_failure():
                    await rsd.destroy_group(entry.group, npus)
            except RsdError:
                self.suspect_orphans()

    async def check_forever(self) -> None:
        """Remove groups that crashes and failures left behind."""
        while True:
            await self._check_orphans()
            await asyncio.sleep(RECHECK_INTERVAL_S)
            await self._check_orphans()
            if not (self._orphans or self._failure):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_INTERVAL_S):
                        await self._suspected.wait()
                self._suspected.clear()

    def suspect_orphans(self) -> None:
        """Check soon: a claim may have left a group behind."""
        self._suspected.set()

    async def _check_orphans(self) -> None:
        rsd = self._find_groups()
        if rsd is None or not self._npus:
            return
        answer = await self._read_holders()
        if answer.absent or answer.unknown:  # a group whose pod is not known must stay
            return
        in_use = {DeviceId(one.device) for one in answer.holdings}
        earlier, self._orphans = self._orphans, {}
        with contextlib.suppress(RsdError, ClaimFilesError), self._noted_failure():
            self._orphans = await rsd.remove_orphans(earlier, lambda: self._free_npus(in_use))

    async def _free_npus(self, in_use: Collection[DeviceId], besides: str = "") -> Collection[str]:
        """Return the NPUs of the pool that neither these pods nor other claims hold."""
        entries = await self._claimed()
        claimed = {one for entry in entries if entry.uid != besides for one in entry.own_devices}
        return self._names_of(self._npus.keys() - claimed - set(in_use))

    def _names_of(self, devices: Iterable[DeviceId]) -> list[str]:
        return sorted(self._npus[device] for device in devices if device in self._npus)

    async def _read_holders(self) -> ResourceHolders:
        return await asyncio.to_thread(list_pod_devices, self._pod_resources, None)

    def _find_groups(self) -> RsdGroups | None:
        if self._rsd is None:
            lock = below_root(self._root, LOCK_FILE)
            tool = find_tool(self._root, lock)
            self._rsd = RsdGroups(tool, lock, self._root) if tool else None
        return self._rsd

    @contextlib.contextmanager
    def _noted_failure(self) -> Iterator[None]:
        """Keep an error for the status, until the next change."""
        try:
            yield
        except (RsdError, ClaimFilesError) as error:
            if str(error) != self._failure:
                log.warning("RSD groups can't be changed", extra={"why": str(error)})
            self._failure = str(error)
            raise
        self._failure = ""

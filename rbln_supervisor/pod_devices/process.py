"""The process that watches which pods hold which devices, as long as the supervisor reads it."""

import asyncio
import contextlib
import os
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core import pod_devices
from rbln_supervisor.core.pod_devices import SETTLE_TIMEOUT_S, Key, PodTable, holder_key
from rbln_supervisor.pod_devices import prepared_claims
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.pod_devices import Pod, PodDevice, PodDevices, PodSource, ResourceHolders
from rbln_worker.host.inotify import ANYTHING, PathWatch
from rbln_worker.kubelet import checkpoint, pod_resources, pods_api
from rbln_worker.process import limits
from rbln_worker.process.file_identity import file_identity
from rbln_worker.process.privileges import keep_only
from rbln_worker.spec import KubeletDirs

NAME: Final = "rbln-pods"
"""Name of the process in ps."""
POLL_INTERVAL_S: Final = 10.0
"""Interval between two pod-resources requests (seconds); a changed checkpoint causes one at
once."""
MIN_RETRY_S: Final = 0.25
"""Seconds from a source's failure to the next attempt; doubled up to MAX_RETRY_S."""
MAX_RETRY_S: Final = 1.0
PROBLEM_AFTER_S: Final = 5.0
"""Seconds; a shorter failure of a source is no problem: a kubelet restarts."""
FIRST_TIMEOUT_S: Final = 1.0
"""Maximum wait for the kubelet's first answer (seconds); then its checkpoint is used alone."""
HEADER: Final = struct.Struct("!I")
"""Length of the state that follows."""
_SETTLE_S: Final = 0.02
"""Seconds in which a burst of changes becomes one state."""


def pods_main(pipe: int, dirs: KubeletDirs) -> int:
    """Write states into a pipe until its reader is gone; return the exit code."""
    with contextlib.suppress(OSError):  # the name is only for people
        Path("/proc/self/comm").write_text(NAME)
    keep_only()
    limits.raise_oom_score()
    try:
        asyncio.run(_Sources(pipe, dirs).follow_sources())
    except* BrokenPipeError:
        pass  # no reader any more
    return Exit.DRAINED


class _Sources:
    """The last answer of each source, and the merged state."""

    def __init__(self, pipe: int, dirs: KubeletDirs) -> None:
        self._pipe = pipe
        self._plugins = dirs.device_plugins
        self._pods_api = dirs.pods_api / pods_api.SOCKET
        self._pod_resources = dirs.pod_resources / pod_resources.SOCKET
        self._checkpoint = checkpoint.Checkpoint()
        self._table: PodTable | None = None
        self._holdings: tuple[PodDevice, ...] | None = None
        self._drivers = dirs.plugins
        self._claims: tuple[PodDevice, ...] = ()
        """Devices that pods hold by ResourceClaims, according to pod-resources."""
        self._prepared: tuple[PodDevice, ...] = ()
        """The same according to the checkpoints of our drivers."""
        self._ended: set[PodDevice] = set()
        self._listed: set[Key] = set()
        """Devices that pod-resources has listed since the kubelet's start."""
        self._kubelet: tuple[int, ...] | None = ()
        self._kubelet_since = 0.0
        self._problem = ""
        self._failing_since: float | None = None
        self._source = PodSource.CHECKPOINT
        self._synced = False
        """True if the watch has delivered an initial list since it was last opened."""
        self._first_seen: dict[tuple[Key, str], float] = {}
        self._sent: PodDevices | None = None
        self._answered = asyncio.Event()
        """Set when a source has answered or failed."""
        self._write_due = asyncio.Event()
        """Set when the state may have changed."""
        self._changed = asyncio.Event()
        """Set when a socket or the checkpoint has changed."""

    async def follow_sources(self) -> None:
        """Follow the sources until the reader is gone."""
        self._read_checkpoint()
        async with asyncio.TaskGroup() as group:
            for one in (
                self._write_states(),
                self._watch_reader(),
                self._follow_sources(),
                self._watch_folders(),
            ):
                group.create_task(one)

    async def _write_states(self) -> None:
        """Send the newest state when it differs; a slow reader misses older ones."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_TIMEOUT_S):
                await self._answered.wait()
        self._write_due.set()
        while True:
            await self._write_due.wait()
            self._write_due.clear()
            state = self._current_state()
            if state != self._sent:
                body = msgspec.msgpack.encode(state)
                await asyncio.to_thread(self._write_all, HEADER.pack(len(body)) + body)
                self._sent = state
            await asyncio.sleep(_SETTLE_S)

    def _write_all(self, data: bytes) -> None:
        with open(self._pipe, "wb", closefd=False) as pipe:
            pipe.write(data)

    async def _watch_reader(self) -> None:
        """Raise BrokenPipeError when the reader is gone."""
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pipe, gone.set)  # EPOLLERR (pipe(7))
        await gone.wait()
        raise BrokenPipeError

    async def _follow_sources(self) -> None:
        retry_s = MIN_RETRY_S
        while True:
            failure = await self._watch_pods()
            wait_s = POLL_INTERVAL_S if failure is None else retry_s
            if failure is None or self._table is None:
                failure = await self._ask_pod_resources() or failure
            if self._synced:
                retry_s, self._synced = MIN_RETRY_S, False
            self._note_failure(failure)
            self._answered.set()
            self._write_due.set()
            retry_s = min(MAX_RETRY_S, 2 * retry_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
                    await asyncio.sleep(_SETTLE_S)
            self._changed.clear()

    def _note_failure(self, reason: str | None) -> None:
        """Report a failure once it has lasted for PROBLEM_AFTER_S: a kubelet may restart."""
        now = asyncio.get_running_loop().time()
        if reason is None:
            self._failing_since, self._problem = None, ""
        elif self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= PROBLEM_AFTER_S:
            self._problem = reason

    async def _watch_pods(self) -> str | None:
        """Follow the Pods API; return the reason of its end, or None if the kubelet has none."""
        try:
            os.stat(self._pods_api)  # noqa: PTH116 - a local socket: one call, no waiting
        except OSError:
            return None
        try:
            await pods_api.watch_pods(
                self._pods_api,
                on_synced=self._pods_synced,
                on_changed=self._pod_changed,
                on_deleted=self._pod_deleted,
            )
        except pods_api.WatchError as ended:
            return f"{self._pods_api}: {ended}"

    def _pods_synced(self, pods: Mapping[str, Pod]) -> None:
        self._read_checkpoint()
        self._table = (self._table or PodTable()).after_sync(pods, self._checkpoint.devices)
        self._source, self._synced = PodSource.PODS_API, True
        self._note_failure(None)
        self._answered.set()
        self._write_due.set()

    def _pod_changed(self, pod: Pod) -> None:
        self._table = (self._table or PodTable()).after_change(pod)
        self._write_due.set()

    def _pod_deleted(self, uid: str) -> None:
        self._table = (self._table or PodTable()).after_deletion(uid)
        self._write_due.set()

    async def _ask_pod_resources(self) -> str | None:
        """Request the state of pod-resources; return a failure, or None (also without a socket)."""
        self._read_checkpoint()  # before the request: the kubelet knows all its entries
        self._read_claims()
        entries = self._checkpoint.devices
        self._note_kubelet()
        found = await asyncio.to_thread(pod_resources.list_pod_devices, self._pod_resources, None)
        if found.absent is None and found.unknown is None:
            self._apply_holders(found, entries)
        elif found.absent is not None and self._table is None and self._holdings is None:
            self._source = PodSource.CHECKPOINT if entries else PodSource.NONE
        return found.unknown

    def _apply_holders(self, found: ResourceHolders, entries: tuple[PodDevice, ...]) -> None:
        self._table = None
        self._source = PodSource.POD_RESOURCES
        self._holdings = found.holdings
        self._claims = tuple(one for one in found.holdings if one.claim)
        now = {(one.resource, one.device) for one in found.holdings}
        self._listed |= now
        age_s = asyncio.get_running_loop().time() - self._kubelet_since
        # A kubelet that has just started does not list pods that it does not know yet.
        self._ended = {
            one
            for one in entries
            if (key := (one.resource, one.device)) not in now
            and (key in self._listed or age_s >= SETTLE_TIMEOUT_S)
        }

    def _note_kubelet(self) -> None:
        identity = file_identity(self._plugins / "kubelet.sock")
        if identity != self._kubelet:
            self._kubelet = identity
            age_s = 0.0
            if identity is not None:  # the kubelet makes its socket when it starts
                age_s = max(0.0, datetime.now(UTC).timestamp() - identity[-1] / 1e9)
            self._kubelet_since = asyncio.get_running_loop().time() - age_s
            self._listed.clear()

    async def _watch_folders(self) -> None:
        sockets = {self._pods_api, self._pod_resources}
        fixed = (self._plugins, self._drivers, *(one.parent for one in sockets))
        try:
            watch = PathWatch(fixed)
        except OSError:  # fs.inotify.max_user_instances: they are checked at each request
            return

        def on_change() -> None:
            touched = watch.drain()
            if touched.get(self._plugins, frozenset()) & {checkpoint.FILE, ANYTHING}:
                self._read_checkpoint()
                self._changed.set()
            if any(touched.get(one.parent, frozenset()) & {one.name, ANYTHING} for one in sockets):
                self._changed.set()
            if any(path.is_relative_to(self._drivers) for path in touched):
                read_claims()

        def read_claims() -> None:
            # Watched first: a driver's folder may have been made and filled meanwhile.
            watch.change_paths((*fixed, *prepared_claims.driver_folders(self._drivers)))
            self._read_claims()

        asyncio.get_running_loop().add_reader(watch.fileno(), on_change)
        self._read_checkpoint()
        read_claims()

    def _read_claims(self) -> None:
        self._prepared = prepared_claims.read_prepared_claims(self._drivers)
        self._write_due.set()

    def _read_checkpoint(self) -> None:
        found = checkpoint.read_checkpoint(self._plugins)
        if found.problem and not found.devices and self._checkpoint.devices:
            found = found._replace(devices=self._checkpoint.devices)  # keep the last entries
        if found != self._checkpoint:
            self._checkpoint = found
            if self._source is not PodSource.POD_RESOURCES:  # a new request follows anyway
                self._write_due.set()

    def _current_state(self) -> PodDevices:
        entries = self._checkpoint.devices
        if self._table is not None:
            if not self._checkpoint.problem:
                self._table = self._table.without_stale(entries)
            devices = pod_devices.by_pods(entries, self._table)
        elif self._holdings is not None:
            devices = pod_devices.by_holdings(entries, self._holdings, self._ended)
        else:
            devices = entries
        devices = pod_devices.with_claims(devices, self._claims, self._prepared)
        keys = {holder_key(one) for one in devices}
        if self._sent is None:
            self._first_seen = dict.fromkeys(keys, 0.0)
        else:
            now = float(int(datetime.now(UTC).timestamp()))
            self._first_seen = {key: self._first_seen.get(key, now) for key in keys}
        return PodDevices(
            self._source,
            pod_devices.with_first_seen(devices, self._first_seen),
            tuple(one for one in (self._problem, self._checkpoint.problem) if one),
        )

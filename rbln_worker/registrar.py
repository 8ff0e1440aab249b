"""Registration of the pool with the kubelet: runs the actions of core/registration."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rbln_worker.contract.messages import Phase
from rbln_worker.contract.pool import PoolName, file_stem
from rbln_worker.core import registration
from rbln_worker.core import registration_events as events
from rbln_worker.core.counters import Counters
from rbln_worker.core.registration import Action, RegistrationState, RegistrationStep
from rbln_worker.host.sockets import (
    MIN_AGE_S,
    SocketPathTooLong,
    is_dead,
    newer_instance,
    remove_stale_sockets,
    unique_socket_name,
)
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.endpoint import Endpoint, EndpointError
from rbln_worker.kubelet.plugin import DevicePlugin, plugin_options
from rbln_worker.kubelet.preferences import Preferences
from rbln_worker.kubelet.prepared import PreparedAnswers
from rbln_worker.kubelet.register import RegistrationError, register_endpoint
from rbln_worker.spec import KubeletDirs

HEARTBEATS_PER_CHECK: Final = 2
"""Heartbeats from one check of the folders to the next, 4 s; inotify can lose events."""

MAX_RETIRED: Final = 4
"""Maximum number of previous sockets that are still served; more close the oldest."""

LINGER_S: Final = 1.0
"""Seconds for which previous sockets are served after the next is listed: a kubelet may see the end
of a stream before the first message of another."""

log = logging.getLogger(__name__)


class Registrar:
    """The pool's endpoints and the state of its registration."""

    def __init__(
        self,
        kubelet_dirs: KubeletDirs,
        pool: PoolName,
        choice: registration.Choice,
        prepared: Callable[[], PreparedAnswers],
        *,
        tally: Counters,
        on_change: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._sock_folder = kubelet_dirs.device_plugins
        self._registry_folder = kubelet_dirs.plugins_registry
        self._pool = pool
        self._stem = file_stem(pool)
        self._prepared = prepared
        self._counters = tally
        self._on_change = on_change
        self._spawn = spawn
        self._state = RegistrationState(choice=choice)
        self._unlisted_at: float | None = None
        """The time since when registration is possible without a stream."""
        self._plugin: DevicePlugin | None = None
        self._endpoint: Endpoint | None = None
        self._retired: list[tuple[Endpoint, DevicePlugin]] = []
        self._remains: list[Endpoint] = []
        """Closed endpoints whose files could not be removed yet."""
        self._heartbeats = 0
        self._begun = self._closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self.board = Board()
        self.preferences = Preferences(tally, on_change)
        self.registrations = 0

    @property
    def watched_folders(self) -> tuple[Path, Path]:
        """The folders with changes that ``check_dirs`` should see."""
        return self._sock_folder, self._registry_folder

    @property
    def phase(self) -> Phase:
        """The registration state for the status."""
        return registration.status_phase(self._state)

    @property
    def reason(self) -> str:
        """The reason why the kubelet does not list the pool; empty if it does."""
        return self._state.reason

    @property
    def way(self) -> str:
        """``kubelet-sock`` or ``plugin-watcher``; empty before one was chosen."""
        return self._state.way or ""

    @property
    def endpoint(self) -> str:
        """The file name of the socket that is served."""
        return self._endpoint.path.name if self._endpoint else ""

    def start_registering(self) -> None:
        """Start to register."""
        self._begun = True
        self._remove_stale()
        asyncio.get_running_loop().call_later(2 * MIN_AGE_S, self._remove_stale)
        self.check_dirs()

    def renew_options(self) -> None:
        """Register again if PreStartContainer is required and the kubelet does not know it."""
        if self._plugin is not None and self._plugin.lacks_pre_start:
            self._handle_event(events.Renewed())

    def on_dirs_changed(self) -> None:
        """Handle a change in one of the folders."""
        if self._begun:
            self.check_dirs()

    def on_heartbeat(self) -> None:
        """Check the folders without an event; called once for each heartbeat."""
        self._heartbeats += 1
        if self._begun and self._heartbeats % HEARTBEATS_PER_CHECK == 0:
            self.check_dirs()
            self._clear_remains()

    def check_dirs(self) -> None:
        """Check the kubelet's folders and act on changes."""
        self._handle_event(events.DirsChecked(self._view_dirs()))

    async def close(self, within_s: float) -> None:
        """End all streams and remove all sockets; nothing is opened after that."""
        self._closed = True
        if self._alarm:
            self._alarm.cancel()
        served = [endpoint for endpoint, _ in self._retired]
        if self._endpoint:
            served.append(self._endpoint)
        closing = [asyncio.create_task(endpoint.close()) for endpoint in served]
        if closing:
            await asyncio.wait(closing, timeout=within_s)

    def _view_dirs(self) -> events.View:
        kubelet = self._sock_folder / "kubelet.sock"
        return events.View(
            kubelet=_file_identity(kubelet),
            sock_folder=self._sock_folder.is_dir(),
            registry_folder=self._registry_folder.is_dir(),
            served=self._endpoint is not None and self._endpoint.file_exists(),
            younger=self._newer_instance() if registration.needs_newer_check(self._state) else "",
            answers=not (registration.needs_answer_check(self._state) and is_dead(kubelet)),
        )

    def _newer_instance(self) -> str:
        return newer_instance(self._endpoint.path, self._stem) if self._endpoint else ""

    def _handle_event(self, event: events.Event) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        before = self._state
        self._state, act = registration.handle_event(before, event, loop.time())
        self._log_change(before, self._state)
        self._count_change(before, self._state, loop.time())
        if self._alarm:
            self._alarm.cancel()
        due = self._state.deadline
        self._alarm = None if due is None else loop.call_at(due, self._deadline_reached)
        match act:
            case Action.OPEN:
                self._begin_opening()
            case Action.REGISTER:
                self._spawn(self._call_register())
            case None:
                pass
        if before != self._state:
            self._on_change()

    def _deadline_reached(self) -> None:
        self._handle_event(events.DirsChecked(self._view_dirs()))
        due = self._state.deadline
        if due is not None and due <= asyncio.get_running_loop().time():
            self._handle_event(events.TimerExpired())

    def _begin_opening(self) -> None:
        """Start to open a fresh endpoint; earlier attempts are void."""
        self._retire_endpoint()  # at once: a report must not have this socket with another way
        plugin = DevicePlugin(
            self._prepared,
            self.board,
            self.preferences,
            self._counters,
            on_asked=lambda: self._on_discovered(plugin),
            on_streams=lambda before, now: self._on_streams(plugin, before, now),
            on_notified=lambda taken, why: self._on_notified(plugin, why, taken=taken),
        )
        self._plugin = plugin
        by_watcher = self._state.way == "plugin-watcher"
        folder = self._registry_folder if by_watcher else self._sock_folder
        self._spawn(self._open_endpoint(plugin, folder))

    async def _open_endpoint(self, plugin: DevicePlugin, folder: Path) -> None:
        try:
            path = folder / unique_socket_name(folder, self._stem)
            endpoint = await Endpoint.open(path, plugin.service_handlers())
        except (SocketPathTooLong, EndpointError) as error:
            if plugin is self._plugin:
                self._handle_event(events.NotOpened(str(error)))
            return
        if self._closed:  # at once: this task is cancelled at its next wait
            endpoint.unlink_file()
        if self._closed or plugin is not self._plugin:  # the kubelet restarted meanwhile
            await self._close_endpoint(endpoint)
            return
        self._endpoint = endpoint
        log.info("serving", extra={"endpoint": endpoint.path.name})
        self._handle_event(events.Opened())

    async def _call_register(self) -> None:
        endpoint = self._endpoint
        if endpoint is None:
            return
        try:
            await register_endpoint(
                self._sock_folder / "kubelet.sock",
                endpoint=endpoint.path.name,
                pool=self._pool,
                options=plugin_options(pre_start=self._prepared().pre_start),
            )
        except RegistrationError as error:
            if endpoint is self._endpoint:
                self._handle_event(events.Rejected(error.why, reached=error.reached))
        else:
            if endpoint is self._endpoint:
                self._handle_event(events.Accepted())

    def _on_discovered(self, plugin: DevicePlugin) -> None:
        if plugin is self._plugin:
            self._handle_event(events.Discovered())

    def _on_notified(self, plugin: DevicePlugin, why: str, *, taken: bool) -> None:
        if plugin is not self._plugin:
            return
        if taken:
            self._handle_event(events.Accepted())
        else:
            refusal = f"the kubelet's plugin watcher refused it: {why[:300]}"
            self._handle_event(events.Rejected(refusal, reached=True))

    def _on_streams(self, plugin: DevicePlugin, before: int, now: int) -> None:
        if plugin is self._plugin:
            self._handle_event(events.Streams(now))
        elif now > before:
            self._handle_event(events.SupersededStream())

    def _retire_endpoint(self) -> None:
        if self._endpoint is None or self._plugin is None:
            return
        if self._endpoint.path.parent == self._registry_folder:
            self._endpoint.unlink_file()
        # A living kubelet may have a stream open while it refuses registrations or creates its
        # socket again. Endpoints with a stream serve until the next is listed, to avoid a gap.
        read = [one for one in self._retired if one[1].streams]
        unread = [one for one in self._retired if not one[1].streams]
        for endpoint, _ in (*unread, *read[: -MAX_RETIRED + 1]):
            self._spawn(self._close_endpoint(endpoint))
        self._retired = [*read[-MAX_RETIRED + 1 :], (self._endpoint, self._plugin)]
        self._endpoint = None

    async def _end_retired(self, retired: tuple[tuple[Endpoint, DevicePlugin], ...]) -> None:
        await asyncio.sleep(LINGER_S)
        for one in retired:
            if one in self._retired:  # else there were too many meanwhile
                self._retired.remove(one)
                await self._close_endpoint(one[0])

    async def _close_endpoint(self, endpoint: Endpoint) -> None:
        await endpoint.close()
        if endpoint.file_exists():
            log.warning("a socket can't be removed", extra={"path": str(endpoint.path)})
            self._remains.append(endpoint)

    def _clear_remains(self) -> None:
        for endpoint in self._remains:
            endpoint.unlink_file()
        self._remains = [endpoint for endpoint in self._remains if endpoint.file_exists()]

    def _log_change(self, before: RegistrationState, after: RegistrationState) -> None:
        if after.step is RegistrationStep.LISTED and before.step is not RegistrationStep.LISTED:
            self.registrations += 1
            log.info("registered: the kubelet lists the pool", extra={"by": after.way})
            self._spawn(self._end_retired(tuple(self._retired)))
        elif after.reason and after.reason != before.reason:
            # No warning before the first kubelet: the plugin is started before it.
            waits = registration.status_phase(after) is Phase.WAITING and not self.registrations
            level = logging.INFO if waits else logging.WARNING
            log.log(level, "not registered", extra={"why": after.reason})

    def _count_change(
        self, before: RegistrationState, after: RegistrationState, now: float
    ) -> None:
        if after.failures > before.failures:
            self._counters.refusals += 1
        if after.step is RegistrationStep.LISTED and before.step is not RegistrationStep.LISTED:
            since = now if self._unlisted_at is None else self._unlisted_at
            self._counters.count_registration(now - since)
        if after.step in {RegistrationStep.AWAY, RegistrationStep.YIELDED, RegistrationStep.LISTED}:
            self._unlisted_at = None
        elif self._unlisted_at is None:
            self._unlisted_at = now

    def _remove_stale(self) -> None:
        now = datetime.now(UTC).timestamp()
        for folder in self.watched_folders:
            for path in remove_stale_sockets(folder, self._stem, now):
                log.info("removed a socket that nobody served", extra={"path": str(path)})


def _file_identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

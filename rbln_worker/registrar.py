"""Registration of the pool with the kubelet: runs the actions of core/registration."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rbln_worker.contract.messages import Phase
from rbln_worker.contract.pool import PoolName, stem
from rbln_worker.core import registration
from rbln_worker.core import registration_events as events
from rbln_worker.core.counters import Counters
from rbln_worker.core.registration import Act, RegistrationState, RegistrationStep
from rbln_worker.host.sockets import (
    YOUNG_S,
    SocketPathTooLong,
    is_dead,
    newer_instance,
    remove_stale_sockets,
    unique_socket_name,
)
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.endpoint import Endpoint, EndpointError
from rbln_worker.kubelet.plugin import DevicePlugin, options
from rbln_worker.kubelet.preferences import Preferences
from rbln_worker.kubelet.prepared import PreparedAnswers
from rbln_worker.kubelet.register import RegistrationError, register
from rbln_worker.spec import KubeletDirs

LOOK_EVERY: Final = 2
"""Heartbeats from one check of the folders to the next, 4 s; inotify can lose events."""

RETIRED_MOST: Final = 4
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
        self._stem = stem(pool)
        self._prepared = prepared
        self._tally = tally
        self._on_change = on_change
        self._spawn = spawn
        self._standing = RegistrationState(choice=choice)
        self._unlisted_at: float | None = None
        """The time since when registration is possible without a stream."""
        self._plugin: DevicePlugin | None = None
        self._endpoint: Endpoint | None = None
        self._retired: list[tuple[Endpoint, DevicePlugin]] = []
        self._remains: list[Endpoint] = []
        """Closed endpoints whose files could not be removed yet."""
        self._pulses = 0
        self._begun = self._closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self.board = Board()
        self.preferences = Preferences(tally, on_change)
        self.registrations = 0

    @property
    def folders(self) -> tuple[Path, Path]:
        """The folders with changes that ``look`` should see."""
        return self._sock_folder, self._registry_folder

    @property
    def phase(self) -> Phase:
        """The registration state for the status."""
        return registration.phase(self._standing)

    @property
    def reason(self) -> str:
        """The reason why the kubelet does not list the pool; empty if it does."""
        return self._standing.reason

    @property
    def way(self) -> str:
        """``kubelet-sock`` or ``plugin-watcher``; empty before one was chosen."""
        return self._standing.way or ""

    @property
    def endpoint(self) -> str:
        """The file name of the socket that is served."""
        return self._endpoint.path.name if self._endpoint else ""

    def begin(self) -> None:
        """Start to register."""
        self._begun = True
        self._sweep()
        asyncio.get_running_loop().call_later(2 * YOUNG_S, self._sweep)
        self.look()

    def renew(self) -> None:
        """Register again if PreStartContainer is required and the kubelet does not know it."""
        if self._plugin is not None and self._plugin.lacks_pre_start:
            self._event(events.Renewed())

    def heard(self) -> None:
        """Handle a change in one of the folders."""
        if self._begun:
            self.look()

    def pulse(self) -> None:
        """Check the folders without an event; called every BEAT_S."""
        self._pulses += 1
        if self._begun and self._pulses % LOOK_EVERY == 0:
            self.look()
            self._clear_remains()

    def look(self) -> None:
        """Check the kubelet's folders and act on changes."""
        self._event(events.DirsChecked(self._view()))

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

    def _view(self) -> events.View:
        kubelet = self._sock_folder / "kubelet.sock"
        return events.View(
            kubelet=_identity(kubelet),
            sock_folder=self._sock_folder.is_dir(),
            registry_folder=self._registry_folder.is_dir(),
            served=self._endpoint is not None and self._endpoint.there(),
            younger=self._younger() if registration.asks_for_others(self._standing) else "",
            answers=not (registration.asks_for_answers(self._standing) and is_dead(kubelet)),
        )

    def _younger(self) -> str:
        return newer_instance(self._endpoint.path, self._stem) if self._endpoint else ""

    def _event(self, event: events.Event) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        before = self._standing
        self._standing, act = registration.advance(before, event, loop.time())
        self._note(before, self._standing)
        self._count(before, self._standing, loop.time())
        if self._alarm:
            self._alarm.cancel()
        due = self._standing.due
        self._alarm = None if due is None else loop.call_at(due, self._overdue)
        match act:
            case Act.OPEN:
                self._begin()
            case Act.REGISTER:
                self._spawn(self._register())
            case None:
                pass
        if before != self._standing:
            self._on_change()

    def _overdue(self) -> None:
        self._event(events.DirsChecked(self._view()))
        due = self._standing.due
        if due is not None and due <= asyncio.get_running_loop().time():
            self._event(events.TimerExpired())

    def _begin(self) -> None:
        """Start to open a fresh endpoint; earlier attempts are void."""
        self._retire()  # at once: a report must not have this socket with another way
        plugin = DevicePlugin(
            self._prepared,
            self.board,
            self.preferences,
            self._tally,
            on_asked=lambda: self._asked(plugin),
            on_streams=lambda before, now: self._streams(plugin, before, now),
            on_notified=lambda taken, why: self._notified(plugin, why, taken=taken),
        )
        self._plugin = plugin
        by_watcher = self._standing.way == "plugin-watcher"
        self._spawn(self._open(plugin, self._registry_folder if by_watcher else self._sock_folder))

    async def _open(self, plugin: DevicePlugin, folder: Path) -> None:
        try:
            path = folder / unique_socket_name(folder, self._stem)
            endpoint = await Endpoint.open(path, plugin.services())
        except (SocketPathTooLong, EndpointError) as error:
            if plugin is self._plugin:
                self._event(events.NotOpened(str(error)))
            return
        if self._closed:  # at once: this task is cancelled at its next wait
            endpoint.withdraw()
        if self._closed or plugin is not self._plugin:  # the kubelet restarted meanwhile
            await self._end(endpoint)
            return
        self._endpoint = endpoint
        log.info("serving", extra={"endpoint": endpoint.path.name})
        self._event(events.Opened())

    async def _register(self) -> None:
        endpoint = self._endpoint
        if endpoint is None:
            return
        try:
            await register(
                self._sock_folder / "kubelet.sock",
                endpoint=endpoint.path.name,
                pool=self._pool,
                options=options(pre_start=self._prepared().pre_start),
            )
        except RegistrationError as error:
            if endpoint is self._endpoint:
                self._event(events.Rejected(error.why, reached=error.reached))
        else:
            if endpoint is self._endpoint:
                self._event(events.Accepted())

    def _asked(self, plugin: DevicePlugin) -> None:
        if plugin is self._plugin:
            self._event(events.Discovered())

    def _notified(self, plugin: DevicePlugin, why: str, *, taken: bool) -> None:
        if plugin is not self._plugin:
            return
        if taken:
            self._event(events.Accepted())
        else:
            refusal = f"the kubelet's plugin watcher refused it: {why[:300]}"
            self._event(events.Rejected(refusal, reached=True))

    def _streams(self, plugin: DevicePlugin, before: int, now: int) -> None:
        if plugin is self._plugin:
            self._event(events.Streams(now))
        elif now > before:
            self._event(events.SupersededStream())

    def _retire(self) -> None:
        if self._endpoint is None or self._plugin is None:
            return
        if self._endpoint.path.parent == self._registry_folder:
            self._endpoint.withdraw()
        # A living kubelet may have a stream open while it refuses registrations or creates its
        # socket again. Endpoints with a stream serve until the next is listed, to avoid a gap.
        read = [one for one in self._retired if one[1].streams]
        unread = [one for one in self._retired if not one[1].streams]
        for endpoint, _ in (*unread, *read[: -RETIRED_MOST + 1]):
            self._spawn(self._end(endpoint))
        self._retired = [*read[-RETIRED_MOST + 1 :], (self._endpoint, self._plugin)]
        self._endpoint = None

    async def _end_retired(self, retired: tuple[tuple[Endpoint, DevicePlugin], ...]) -> None:
        await asyncio.sleep(LINGER_S)
        for one in retired:
            if one in self._retired:  # else there were too many meanwhile
                self._retired.remove(one)
                await self._end(one[0])

    async def _end(self, endpoint: Endpoint) -> None:
        await endpoint.close()
        if endpoint.there():
            log.warning("a socket can't be removed", extra={"path": str(endpoint.path)})
            self._remains.append(endpoint)

    def _clear_remains(self) -> None:
        for endpoint in self._remains:
            endpoint.withdraw()
        self._remains = [endpoint for endpoint in self._remains if endpoint.there()]

    def _note(self, before: RegistrationState, after: RegistrationState) -> None:
        if after.step is RegistrationStep.LISTED and before.step is not RegistrationStep.LISTED:
            self.registrations += 1
            log.info("registered: the kubelet lists the pool", extra={"by": after.way})
            self._spawn(self._end_retired(tuple(self._retired)))
        elif after.reason and after.reason != before.reason:
            # No warning before the first kubelet: the plugin is started before it.
            waits = registration.phase(after) is Phase.WAITING and not self.registrations
            level = logging.INFO if waits else logging.WARNING
            log.log(level, "not registered", extra={"why": after.reason})

    def _count(self, before: RegistrationState, after: RegistrationState, now: float) -> None:
        if after.failures > before.failures:
            self._tally.refusals += 1
        if after.step is RegistrationStep.LISTED and before.step is not RegistrationStep.LISTED:
            self._tally.registered(now - (now if self._unlisted_at is None else self._unlisted_at))
        if after.step in {RegistrationStep.AWAY, RegistrationStep.YIELDED, RegistrationStep.LISTED}:
            self._unlisted_at = None
        elif self._unlisted_at is None:
            self._unlisted_at = now

    def _sweep(self) -> None:
        now = datetime.now(UTC).timestamp()
        for folder in self.folders:
            for path in remove_stale_sockets(folder, self._stem, now):
                log.info("removed a socket that nobody served", extra={"path": str(path)})


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

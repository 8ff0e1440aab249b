"""The loop of a worker: desired state and health checks become answers for the kubelet."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.channel.session import HeldState, SessionSources, SupervisorSession
from rbln_worker.contract.device import Device
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.messages import (
    HEARTBEAT_INTERVAL_S,
    CheckDevices,
    Hello,
    Phase,
    PodsHold,
    Report,
    State,
    StateReport,
)
from rbln_worker.contract.version import VERSION
from rbln_worker.core.aligned_timer import next_moment
from rbln_worker.core.allocation.given import select_given
from rbln_worker.core.counters import Counters
from rbln_worker.core.health.device_health import without_link
from rbln_worker.core.pool_snapshot import Gap, HeldPool, apply_message
from rbln_worker.event_recorder import EventRecorder
from rbln_worker.health.inspect import Depth
from rbln_worker.health.probe_threads import Prober
from rbln_worker.health.schedule import CheckSchedule
from rbln_worker.host.inotify import ANYTHING, PathWatch
from rbln_worker.host_files import HostFiles, SpecHolders
from rbln_worker.kubelet import endpoint
from rbln_worker.pool_state import PoolState, StateChange
from rbln_worker.process import limits
from rbln_worker.registrar import Registrar
from rbln_worker.spec import WorkerSpec

CLOSE_TIMEOUT_S: Final = 1.0
_DEV_FOLDERS: Final = ("dev", "dev/vfio", "dev/infiniband", "dev/net")
"""Folders of the nodes that containers are given."""

log = logging.getLogger(__name__)


class Worker:
    """The worker of one pool, from its first snapshot to its drain."""

    def __init__(
        self, spec: WorkerSpec, link: SupervisorSocket, *, owns_pool: Callable[[], bool]
    ) -> None:
        """Serve while ``owns_pool`` is True: the pool belongs to this worker, by its lock file."""
        self._spec = spec
        self._owns_pool = owns_pool
        self._counters = Counters(spec.earlier)
        self._events = EventRecorder(spec)
        self._session = SupervisorSession(
            link,
            SessionSources(
                hello=self._hello_message,
                held_state=self._held_state,
                state_report=self._state_report,
                report=self._make_report,
                counters=lambda: self._counters.worker_counters(
                    failed_writes=self._files.failures, restored_specs=self._files.restored
                ),
            ),
            on_message=self._on_message,
            alone_s=spec.alone_s,
        )
        self._files = HostFiles(spec, on_settled=self._session.report_changes)
        self._state = PoolState(
            spec.pool,
            spec.cdi,
            self._files,
            pre_start=spec.pre_start,
            on_deadline=self._reevaluate,
            request_check=lambda one: self._checks.request_check({one}),
        )
        self._prober = Prober(
            spec.root,
            host_visible=spec.host_visible,
            write_info=self._files.write_info,
            tally=self._counters,
        )
        self._group = asyncio.TaskGroup()
        self._registrar = Registrar(
            spec.kubelet_dirs,
            spec.pool,
            spec.registration,
            lambda: self._state.prepared,
            tally=self._counters,
            on_change=self._registration_changed,
            spawn=self._group.create_task,
        )
        self._dev_folders = tuple(spec.root / folder for folder in _DEV_FOLDERS)
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._checks = CheckSchedule(
            lambda: self._state.held,
            self._state.incomplete_devices,
            self._run_checks,
            spawn=self._group.create_task,
        )
        self._state_lock = asyncio.Lock()
        """A conclusion builds on the previous one, and may wait for a file."""

    def drain(self, reason: str, code: Exit = Exit.DRAINED) -> None:
        """Start to end, with this exit code."""
        if not self._end.done():
            log.info("leaving", extra={"why": reason})
            self._end.set_result(code)

    async def run(self) -> Exit:
        """Serve until drained; raise an error that was not handled."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._callback_failed)
        self._session.start_receiving()
        with contextlib.ExitStack() as stack:
            self._watch_folders(stack)
            serving = asyncio.create_task(self._serve())
            await asyncio.wait({serving, self._end}, return_when=asyncio.FIRST_COMPLETED)
            try:
                return serving.result() if serving.done() else self._end.result()
            finally:
                self._checks.stop_checks()
                serving.cancel()
                await self._registrar.close(CLOSE_TIMEOUT_S)
                # Last: it may wait for a disk. A successor has a list of its own by now.
                await self._files.close(CLOSE_TIMEOUT_S, save=self._owns_pool())

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio would log an error in a callback and go on; half a worker is worse than none.
        error = context.get("exception")
        if "handle" in context and error is not None and not self._end.done():
            self._end.set_exception(error)
        else:
            loop.default_exception_handler(context)

    async def _serve(self) -> Exit:
        # An unhandled error in one of these tasks ends all of them, and the worker.
        async with self._group:
            self._group.create_task(self._run_heartbeat())
        return Exit.DRAINED  # never: the pulse runs until it is cancelled

    async def _run_heartbeat(self) -> None:
        """Do all periodic work at once, because a wake-up costs more than the work."""
        loop = asyncio.get_running_loop()
        while True:
            self._session.send_heartbeat()
            self._checks.on_heartbeat()
            self._registrar.on_heartbeat()
            if self._events.write_pending():
                self._session.report_changes()
            if not self._owns_pool():
                self.drain("the pool's lock file was replaced", Exit.POOL_LOST)
            await asyncio.sleep(next_moment(loop.time(), HEARTBEAT_INTERVAL_S) - loop.time())

    def _watch_folders(self, stack: contextlib.ExitStack) -> None:
        folders = (*self._registrar.watched_folders, *self._dev_folders, self._files.spec_folder)
        try:
            watch = stack.enter_context(PathWatch(folders))
        except OSError as error:
            # fs.inotify.max_user_instances; periodic checks see all changes, later
            log.warning("no inotify: changes are seen later", extra={"why": error.strerror})
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(watch.fileno(), self._folders_changed, watch)
        stack.callback(loop.remove_reader, watch.fileno())

    def _folders_changed(self, watch: PathWatch) -> None:
        touched = watch.drain()
        if touched.keys() & set(self._registrar.watched_folders):
            self._registrar.on_dirs_changed()
        if self._files.spec_folder in touched:
            self._files.restore_spec()
        nodes = {
            f"/{folder.relative_to(self._spec.root)}/{name}" if name is not ANYTHING else ANYTHING
            for folder in touched.keys() & set(self._dev_folders)
            for name in touched[folder]
        }
        if ANYTHING in nodes:
            self._checks.request_full_check()
        elif nodes and (one := self._state.devices_using(nodes) | self._prober.in_progress):
            self._checks.request_check(one)

    # Messages

    def _hello_message(self) -> Hello:
        spec = self._spec
        life = (spec.pool, os.getpid(), spec.incarnation, VERSION)
        return Hello(*life, *self._held_state(), options=spec.options_digest)

    def _state_report(self) -> StateReport:
        held = self._state.held
        return StateReport(held.pool, tuple(held.devices.values())) if held else StateReport()

    def _held_state(self) -> HeldState:
        held = self._state.held
        return HeldState(held.session, held.generation) if held else HeldState()

    def _on_message(self, message: State) -> None:
        if isinstance(message, CheckDevices):
            if message.devices:
                self._checks.request_check(message.devices)
            else:
                self._checks.request_full_check()
            return
        if isinstance(message, PodsHold):
            self._take_pods_hold(message)
            return
        after = apply_message(self._state.held, message)
        if isinstance(after, Gap):
            self._session.request_snapshot()
            return
        self._checks.request_check(self._state.set_desired(after))
        self._reevaluate()  # evidence from the desired state needs no file, so it does not wait

    def _take_pods_hold(self, message: PodsHold) -> None:
        self._state.take_given(select_given(self._spec.pool, message.devices))
        ours = [one for one in message.devices if one.resource == self._spec.pool]
        needed = SpecHolders(
            any=bool(ours) or not message.is_known, claimed=any(one.cdi for one in ours)
        )
        if self._files.take_holders(needed) and (held := self._state.held) is not None:
            self._checks.request_check(set(islice(held.devices, 1)))  # any check settles files
        self._reevaluate()

    def _make_report(self) -> Report:
        held = self._state.held
        if held is None:
            return Report(Phase.REGISTERING, reason="not told of its devices yet")
        return Report(
            phase=self._registrar.phase,
            reason=self._registrar.reason,
            registration=self._registrar.way,
            endpoint=self._registrar.endpoint,
            devices=self._state.all_judged,
            registrations=self._registrar.registrations,
            problems=(
                *self._files.list_problems(held.pool),
                *self._registrar.preferences.problems,
                *self._events.problems,
            ),
            failed_writes=self._files.failures,
        )

    def _registration_changed(self) -> None:
        registrar = self._registrar
        listed = registrar.phase is Phase.REGISTERED
        self._events.record_registration(listed=listed, way=registrar.way, reason=registrar.reason)
        self._session.report_changes()

    # Health checks

    async def _run_checks(self, chosen: Sequence[Device], held: HeldPool, depth: Depth) -> None:
        looked_at = {device.id: device for device in chosen}
        async for found in self._prober.check_devices(chosen, held.pool, depth):
            if not found and depth is Depth.VOLATILE:
                continue
            async with self._state_lock:
                now = self._state.held
                if now is None:
                    return
                if self._files.needs_spec(now.pool):  # the runtime knows devices first
                    await self._files.write_spec(now.pool, self._state.answers_with(found))
                    now = self._state.held or now
                # A result for an older desired state is dropped.
                current = {
                    device: finding
                    for device, finding in found.items()
                    if device in now.devices
                    and without_link(now.devices[device]) == without_link(looked_at[device])
                    and now.pool == held.pool
                }
                self._apply_change(self._state.apply_results(current))
                outdated = self._prober.requested_meanwhile() | (found.keys() - current.keys())
                if outdated:
                    self._checks.request_check(outdated)
            self._files.collect_garbage(now.pool, now.devices)

    def _reevaluate(self) -> None:
        """Update the state without a health check, after a new desired state or a deadline."""
        if not self._end.done():  # a deadline may pass while the worker ends
            self._apply_change(self._state.reevaluate())

    def _apply_change(self, news: StateChange | None) -> None:
        if news is None:
            return
        self._registrar.board.publish_list(self._state.prepared.message)
        self._events.record_verdicts(news.before, news.after)
        if news.first:  # register only with verdicts
            if not limits.can_start_threads(endpoint.max_grpc_threads()):
                raise MemoryError("for threads of gRPC, which waits for ever without them")
            self._registrar.start_registering()
        self._registrar.renew_options()
        self._session.report_changes()

"""The loop of a worker: collects events, and carries out the effects of the step."""

import asyncio
import contextlib
import logging
import os
import random
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.channel.session import SupervisorSession
from rbln_worker.contract import messages
from rbln_worker.contract.counters import carried_over
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.version import VERSION
from rbln_worker.core.aligned_timer import next_moment
from rbln_worker.core.health.health_record import Timestamp
from rbln_worker.core.step import effects, events
from rbln_worker.core.step.check_schedule import HEARTBEATS_PER_FULL_CHECK
from rbln_worker.core.step.effects import Effect
from rbln_worker.core.step.events import DrainRequested, Event
from rbln_worker.core.step.worker_step import WorkerState, step
from rbln_worker.event_recorder import EventRecorder
from rbln_worker.health.probe_threads import Prober
from rbln_worker.host.inotify import ANYTHING, PathWatch
from rbln_worker.host_files import HostFiles
from rbln_worker.kubelet.front import DevicePluginFront, Front
from rbln_worker.process.tls import enable_tls
from rbln_worker.registrar import Registrar
from rbln_worker.spec import WorkerSpec

CLOSE_TIMEOUT_S: Final = 1.0
CALLS_TIMEOUT_S: Final = 0.4
"""Both are within the time that a supervisor waits for the end of its worker."""
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
        self._link = link
        self._owns_pool = owns_pool
        hello = messages.Hello(
            spec.pool, os.getpid(), spec.incarnation, VERSION, options=spec.options_digest
        )
        self._state = WorkerState(
            hello,
            "plugin-watcher" if spec.dra else spec.registration,
            "off" if spec.dra else spec.cdi,
            spec.pre_start,
            heartbeats=random.SystemRandom().randrange(HEARTBEATS_PER_FULL_CHECK),
            driver=spec.dra.driver if spec.dra else "",
        )
        self._pending: deque[Event] = deque()
        self._is_stepping = False
        self._timer: asyncio.TimerHandle | None = None
        self._counters = carried_over(spec.earlier)
        self._events = EventRecorder(spec, self._counters)
        self._session = SupervisorSession(link, self.post)
        self._files = HostFiles(spec, post=self.post)
        self._prober = Prober(
            spec.root,
            host_visible=spec.host_visible,
            write_info=self._files.write_info,
            tally=self._counters,
        )
        self._group = asyncio.TaskGroup()
        self._front = self._make_front()
        self._registrar = Registrar(
            spec.kubelet_dirs,
            spec.pool,
            self._front,
            post=self.post,
            spawn=self._group.create_task,
        )
        self._withdraws = False
        self._dev_folders = tuple(spec.root / folder for folder in _DEV_FOLDERS)
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def _make_front(self) -> Front:
        if self._spec.dra is None:
            return DevicePluginFront(self._spec.pool, self._counters)
        enable_tls()
        # Only here: other workers have neither the client nor its memory.
        from rbln_worker.dra.front import DraFront  # noqa: PLC0415

        counters, refused = self._counters, self._events.record_refusal
        return DraFront(self._spec, self._spec.dra, counters, post=self.post, on_refusal=refused)

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
                self._state.ended = True
                serving.cancel()
                await self._front.end_calls(CALLS_TIMEOUT_S, withdraws=self._withdraws)
                await self._registrar.close(CLOSE_TIMEOUT_S)
                # Last: it may wait for a disk. A successor has a list of its own by now.
                await self._files.close(CLOSE_TIMEOUT_S, save=self._owns_pool())

    def post(self, event: Event) -> None:
        """Take an event: step, and carry out the effects, which may post further events."""
        self._pending.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                now = Timestamp(loop.time(), round(datetime.now(UTC).timestamp(), 3))
                for effect in step(self._state, self._pending.popleft(), now):
                    self._perform(effect)
        finally:
            self._is_stepping = False
        if self._timer is not None:
            self._timer.cancel()
        due = self._state.deadline
        self._timer = None if due is None else loop.call_at(due, self.post, events.TimerDue())

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
            self._front.start_tasks(self._group.create_task)
            self._group.create_task(self._run_heartbeat())
        return Exit.DRAINED  # never: heartbeats go on until it is cancelled

    async def _run_heartbeat(self) -> None:
        """Do all periodic work at once, because a wake-up costs more than the work."""
        loop = asyncio.get_running_loop()
        while True:
            problems = (*self._events.write_pending(), *self._front.problems)
            self.post(events.HeartbeatDue(problems))
            if not self._owns_pool():
                self.post(DrainRequested("the pool's lock file was replaced", Exit.POOL_LOST))
            due = next_moment(loop.time(), messages.HEARTBEAT_INTERVAL_S)
            await asyncio.sleep(due - loop.time())

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
            self.post(events.KubeletDirsChanged())
        if self._files.spec_folder in touched and not self._state.ended:
            self._files.restore_spec()
            self._front.restore_files()
        nodes = {
            f"/{folder.relative_to(self._spec.root)}/{name}" if name is not ANYTHING else ANYTHING
            for folder in touched.keys() & set(self._dev_folders)
            for name in touched[folder]
        }
        if nodes:
            known = None if ANYTHING in nodes else frozenset(nodes)
            self.post(events.NodesChanged(known, self._prober.in_progress))

    async def _run_check(self, check: effects.StartCheck) -> None:
        devices, pool, depth = check.devices, check.pool, check.depth
        async for found in self._prober.check_devices(devices.values(), pool, depth):
            repeat = frozenset(self._prober.requested_meanwhile())
            self.post(events.CheckCompleted(devices, pool, depth, found, repeat))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.SendMessage(message=message):
                self._send_message(message)
            case effects.StartCheck():
                self._group.create_task(self._run_check(effect))
            case effects.WriteSpec():
                self._group.create_task(self._files.write_spec(effect))
            case effects.SettleFiles():
                self._files.collect_garbage(effect)
            case effects.PublishAnswers():
                self._front.publish_answers(effect)
                self._events.record_verdicts(effect)
            case effects.RepeatList():
                self._front.repeat_list()
            case effects.RecordRegistration():
                self._events.record_registration(effect)
            case effects.RecordClaims():
                self._events.record_claims(effect)
            case effects.End(code=code, reason=reason):
                log.info("leaving", extra={"why": reason})
                self._withdraws = effect.withdraws
                if not self._end.done():
                    self._end.set_result(code)
            case _:
                self._registrar.perform(effect)

    def _send_message(self, message: messages.ToSupervisor) -> None:
        self._session.send_message(message)
        if isinstance(message, messages.Heartbeat | messages.Hello):
            counters, earlier = self._counters, self._spec.earlier
            counters.failed_writes = earlier.failed_writes + self._files.failures
            counters.dropped_frames = earlier.dropped_frames + self._link.dropped_frames
            counters.restored_specs = earlier.restored_specs + self._files.restored
            self._session.send_message(msgspec.structs.replace(counters))

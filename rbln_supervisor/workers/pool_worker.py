"""The processes of one pool: performs the effects of the pool's step."""

import contextlib
import logging
import os
import random
import secrets
import signal
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.core.pod_devices import holders_of, is_spec_needed, pods_hold
from rbln_supervisor.core.reporting.pool_counters import PoolCounters
from rbln_supervisor.core.reporting.pool_summary import PoolSnapshot
from rbln_supervisor.core.workers import managed_pool
from rbln_supervisor.core.workers.lifecycle import Act, State
from rbln_supervisor.core.workers.managed_pool import ManagedPool, PoolEffect, PoolEvent
from rbln_supervisor.core.workers.pool_step import due_message, step_pool
from rbln_supervisor.core.workers.predecessor import Stage
from rbln_supervisor.core.workers.worker_events import Exited, OrphanFound
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.options import Options
from rbln_supervisor.workers import exit_record, processes
from rbln_supervisor.workers.exit_record import ExitRecord
from rbln_supervisor.workers.processes import ChildProcess
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.counters import WorkerCounters, carried_over
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.messages import Snapshot, encode_message
from rbln_worker.contract.pod_devices import PodDevices
from rbln_worker.contract.pool import DraExport, PoolName
from rbln_worker.host.manifest import remove_files
from rbln_worker.process.event_file import previous_file
from rbln_worker.spec import DraStart, WorkerSpec

_LOG_LINES: Final = {
    "started": (logging.INFO, "worker started", ""),
    "not started": (logging.ERROR, "worker could not be started", "why"),
    "adopted": (logging.INFO, "worker adopted", ""),
    "replaced": (logging.WARNING, "worker is replaced", "why"),
    "left": (logging.INFO, "worker left", "how"),
    "died": (logging.ERROR, "worker died", "how"),
    "hangs": (logging.WARNING, "killing a worker that does not answer", ""),
}
"""Level and text of the log line, and the key of the reason in it."""

log = logging.getLogger(__name__)


def worker_spec(pool: PoolName, options: Options, export: DraExport | None) -> WorkerSpec:
    """Return the options of a pool's worker; ``export`` is None for the device-plugin API."""
    dra = None
    if export is not None:
        dra = DraStart(export.driver, options.node_name, options.kubeconfig)
    return WorkerSpec(
        pool=pool,
        incarnation="",
        run_dir=options.run_dir,
        root=options.host_root,
        kubelet_dirs=options.kubelet_dirs,
        registration=options.registration,
        host_visible=options.host_visible,
        cdi=options.cdi,
        pre_start=options.pre_start_check,
        memory_most=options.worker_memory_max,
        log_level=options.log_level,
        log_format=options.log_format,
        dra=dra,
    )


class PoolWorker:
    """A pool with a worker, now or earlier."""

    def __init__(self, spec: WorkerSpec, session: str, journal: EventLog) -> None:
        self._spec = spec
        self._event_log = journal
        self._process: ChildProcess | None = None
        self._replaced: ChildProcess | None = None
        """The predecessor's process."""
        self._last_exit: ExitRecord | None = None
        self.pool = ManagedPool(
            spec.pool, session, spec.options_digest, spec.dra.driver if spec.dra else ""
        )
        self.counters = PoolCounters()

    def apply_event(self, event: PoolEvent) -> None:
        """Apply an event, perform its effects, and apply the events that these cause."""
        events = deque([event])
        while events:
            self.pool, effects = step_pool(self.pool, events.popleft(), monotonic())
            events.extend(filter(None, map(self._perform_effect, effects)))

    def update_pool(self, **changes: object) -> None:
        """Change fields of the pool."""
        self.pool = msgspec.structs.replace(self.pool, **changes)

    def change_export(self, spec: WorkerSpec) -> None:
        """Fork with other options from now on; end a worker with another export."""
        driver = spec.dra.driver if spec.dra else ""
        if driver != self.pool.driver:
            self.end_export()
        self._spec = spec
        self.update_pool(options=spec.options_digest, driver=driver)

    def end_export(self) -> None:
        """End the worker and its export; another one follows if the pool is needed again."""
        self.apply_event(self.pool.end_of_export)

    def request_check(self, devices: Iterable[DeviceId], *, is_full: bool = False) -> None:
        """Request health checks: of these devices at once, of all of them after that."""
        sent = self.pool.worker.sent
        to_check, full = sent.to_check.union(devices), sent.is_full_check_due or is_full
        sent = msgspec.structs.replace(sent, to_check=to_check, is_full_check_due=full)
        self.update_pool(worker=msgspec.structs.replace(self.pool.worker, sent=sent))

    def apply_pod_devices(self, known: PodDevices) -> None:
        """Apply the devices that pods hold."""
        name = self._spec.pool
        self.update_pool(
            pods_hold=pods_hold(name, known),
            holders=holders_of(name, known.devices),
            pod_source=known.source,
        )

    def send_due(self, router: Router) -> None:
        """Send the worker what it lacks. What it can't take now is computed again later."""
        address = self.pool.worker.address
        while address is not None and (message := due_message(self.pool)) is not None:
            if not router.send(address, encode_message(message)):
                return
            self.apply_event(managed_pool.MessageSent(message))
            if isinstance(message, Snapshot):
                self.counters.stop_latency(monotonic())

    def reap_worker(self) -> None:
        """Reap the worker, whose pidfd has become readable."""
        if self._process is not None:
            status = processes.reap(self._process)
            chance = random.random()  # noqa: S311 - jitter
            self.apply_event(Exited(chance, status.how, status.cause))

    def reap_predecessor(self) -> None:
        """Reap the predecessor, whose pidfd has become readable."""
        replaced, predecessor = self._replaced, self.pool.predecessor
        if replaced is None or predecessor is None:
            return
        how = processes.reap(replaced).how
        facts = {"pool": self._spec.pool, "pid": replaced.pid, "how": how}
        if predecessor.stage is Stage.SERVING:
            log.error("worker died before its successor was listed", extra=facts)
        else:
            log.info("replaced worker ended", extra=facts)
        self._replaced = None
        self.apply_event(managed_pool.PredecessorExited())

    @property
    def pidfds(self) -> dict[int, Callable[[], None]]:
        """The pidfds of the pool's workers, each with the function to call when it is readable."""
        found = {self._process.pidfd: self.reap_worker} if self._process else {}
        if self._replaced is not None:
            found[self._replaced.pidfd] = self.reap_predecessor
        return found

    def update_counters(self, now: float) -> None:
        """Add unavailability up to ``now`` (monotonic seconds) to the counters."""
        pool = self.pool
        desired = pool.desired if pool.configured else None
        # While a predecessor serves, nothing is unavailable, and its state is not known.
        state = pool.child.state if pool.predecessor is None else State.ADOPTING
        self.counters.update_unavailability(desired, state, pool.worker.report, now)

    def clear_files(self) -> None:
        """Remove the pool's files on the host; keep its CDI spec while a pod needs it."""
        needed = is_spec_needed(self._spec.pool, self.pool.pods_hold)
        remove_files(self._spec.manifest_path, keep=self._spec.spec_folder if needed else None)

    def remove_files(self) -> None:
        """Remove the workers' files of a pool that is not configured any more and has no worker.

        The lock file is removed only if no process holds it: otherwise a worker that can't be seen
        from here could not be found any more.
        """
        spec = self._spec
        self._event_log.record_event("pool", "removed", pool=spec.pool)
        with contextlib.suppress(OSError):
            for path in (spec.tail_path, spec.events_path, previous_file(spec.events_path)):
                path.unlink(missing_ok=True)
            if self.is_free():
                spec.lock_path.unlink(missing_ok=True)

    def is_free(self) -> bool:
        """Return True if no worker of any supervisor, visible or not, serves the pool."""
        try:
            orphan = processes.lock_holder(self._spec.lock_path)
        except OSError:
            return False
        if orphan is not None:
            os.close(orphan.process.pidfd)
        return orphan is None

    def take_snapshot(self, now: float) -> PoolSnapshot:
        """Return a snapshot of the pool for the status."""
        end = self._last_exit
        ended = f"{end.how} {now - end.at:.0f} s ago" if end else None
        failed_writes = self.counters.figures.failed_writes if self.counters.figures else 0
        return PoolSnapshot(self.pool, ended, end.last_log if end else (), failed_writes)

    def _perform_effect(self, effect: PoolEffect) -> PoolEvent | None:
        """Perform an effect; return the event that it causes."""
        match effect:
            case Act.SPAWN:
                return self._start_worker()
            case Act.REPLACE:
                self._replaced, self._process = self._process, None
                return self._start_worker()
            case Act.DRAIN | Act.KILL:
                _send_signal(self._process, is_kill=effect is Act.KILL)
            case Act.DRAIN_PREDECESSOR | Act.KILL_PREDECESSOR:
                _send_signal(self._replaced, is_kill=effect is Act.KILL_PREDECESSOR)
            case Act.PROMOTE_SUCCESSOR:
                # The predecessor detects that it has lost the lock, and ends even if no supervisor
                # can signal it any more.
                with contextlib.suppress(OSError):  # not locked yet: promoted at its hello
                    self._spec.successor_lock_path.replace(self._spec.lock_path)
            case Act.SWEEP_SOCKETS:
                exit_record.clear_dead_sockets(self._spec)
            case Act.CLEAR_FILES:
                self.clear_files()
            case managed_pool.RecordEvent(what=what, why=why):
                self._record_event(what, why)
            case managed_pool.CleanUpAfterWorker():
                self._clean_up(effect)
        return None

    def _clean_up(self, ended: managed_pool.CleanUpAfterWorker) -> None:
        self._process = None
        exit_record.remove_stale_socket(self._spec, ended.report)
        if ended.restart_cause:
            self.counters.restarts[ended.restart_cause] += 1
        self.counters.cancel_latency()
        if self.counters.figures is not None:
            self.counters.figures = carried_over(self.counters.figures)
        self._last_exit = ExitRecord(
            ended.how, monotonic(), exit_record.last_lines(self._spec.tail_path)
        )

    def _start_worker(self) -> PoolEvent:
        is_successor = self._replaced is not None
        try:
            if not is_successor and (orphan := self.find_orphan()) is not None:
                return orphan
            earlier = carried_over(self.counters.figures or WorkerCounters())
            self.counters.figures = earlier
            incarnation = secrets.token_hex(8)
            spec = msgspec.structs.replace(
                self._spec, incarnation=incarnation, earlier=earlier, is_successor=is_successor
            )
            self._process = processes.spawn_worker(spec)
        except OSError as error:
            chance = random.random()  # noqa: S311 - jitter
            return Exited(chance, f"could not be started: {error}", "not-started")
        return managed_pool.WorkerStarted(self._process.pid, incarnation)

    def find_orphan(self) -> OrphanFound | None:
        """Return the orphan that serves the pool, if there is one, as an event.

        Raises:
            OSError: A process that cannot be seen or watched holds the lock.
        """
        orphan = processes.lock_holder(self._spec.lock_path)
        if orphan is None:
            return None
        self._process = orphan.process
        facts = {"pool": self._spec.pool, "pid": orphan.process.pid}
        log.info("found a worker of a previous supervisor", extra=facts)
        return OrphanFound(orphan.process.pid, orphan.incarnation, orphan.driver)

    def _record_event(self, what: str, why: str) -> None:
        level, line, key = _LOG_LINES[what]
        facts = {"pool": self._spec.pool, "pid": self._process.pid if self._process else None}
        log.log(level, line, extra={**facts, key: why} if key else facts)
        self.counters.adoptions += what == "adopted"
        self._event_log.record_event("worker", what, pool=self._spec.pool, why=why)


def _send_signal(process: ChildProcess | None, *, is_kill: bool) -> None:
    if process is not None:
        processes.send(process, signal.SIGKILL if is_kill else signal.SIGTERM)

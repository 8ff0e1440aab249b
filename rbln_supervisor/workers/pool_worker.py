"""The supervisor's side of one worker: forks or adopts it, sends it its state, and reaps it."""

import contextlib
import logging
import random
import secrets
import signal
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.core.pod_devices import holders_of, is_spec_needed, pods_hold
from rbln_supervisor.core.reporting.pool_counters import PoolCounters
from rbln_supervisor.core.reporting.pool_summary import Holders, PoolSnapshot
from rbln_supervisor.core.workers import lifecycle
from rbln_supervisor.core.workers.desired_state import DesiredState, from_orphan, update_message
from rbln_supervisor.core.workers.lifecycle import (
    Act,
    Child,
    Exited,
    Incompatible,
    NotNeeded,
    OrphanFound,
    State,
    StateReceived,
)
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.exit_record import ExitRecord, record_exit, remove_stale_socket
from rbln_supervisor.workers.processes import ChildProcess
from rbln_supervisor.workers.replaced_worker import ReplacedWorker, promote_successor
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.counters import WorkerCounters, carried_over
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.messages import (
    CheckDevices,
    Heartbeat,
    Hello,
    PodsHold,
    Report,
    SnapshotRequest,
    StateReport,
    StateRequest,
    ToSupervisor,
    encode_message,
)
from rbln_worker.contract.pod_devices import PodDevices, PodSource
from rbln_worker.contract.version import VERSION
from rbln_worker.host.manifest import remove_files
from rbln_worker.process.event_file import previous_file
from rbln_worker.spec import WorkerSpec

STALE_S: Final = 2.0
"""Seconds after a send in which heartbeats may name an older generation; then it was lost."""

log = logging.getLogger(__name__)


class PoolWorker:
    """A pool with a worker, now or earlier."""

    def __init__(self, spec: WorkerSpec, session: str, journal: EventLog) -> None:
        self._spec = spec
        self._event_log = journal
        self._session = session
        self._known_generation: int | None = None
        self._sent_at = 0.0
        self.holders: Holders = {}
        """Pods that use the pool's devices."""
        self._pod_source = PodSource.NONE
        self.pods_hold: PodsHold | None = None
        """Pod devices that the worker needs before any other message; None: not known yet."""
        self._pods_hold_sent: PodsHold | None = None
        self._to_check: set[DeviceId] = set()
        """Devices for which a health check is to be requested."""
        self._is_full_check_due = False
        self._is_state_requested = False
        """True if an orphan was asked for its state."""
        self.configured = True
        self.desired: DesiredState | None = None
        self.child = Child()
        self.process: ChildProcess | None = None
        self.predecessor: ReplacedWorker | None = None
        """Serves until the kubelet lists the new worker."""
        self.incarnation = ""
        self._version = ""
        self.identity: bytes | None = None
        self.report: Report | None = None
        self._dropped_before = 0
        self.dropped_frames = 0
        """Our frames that workers could not read."""
        self.last_exit: ExitRecord | None = None
        self.counters = PoolCounters()

    @property
    def is_adopting(self) -> bool:
        """True while an orphan has not reported its state: it may know devices that are gone."""
        return self.child.state is State.ADOPTING

    def adopt_existing(self) -> bool:
        """Return True if an orphan serves the pool; start to adopt it then.

        Raises:
            OSError: A process that cannot be seen or watched holds the lock.
        """
        orphan = processes.lock_holder(self._spec.lock_path)
        if orphan is None:
            return False
        self.process, self.incarnation = orphan.process, orphan.incarnation
        log.info("a worker of an earlier supervisor serves", extra=self._log_fields())
        self.apply_event(OrphanFound())
        return True

    def matches_hello(self, hello: Hello) -> bool:
        """Return True if a hello is from the pool's current worker."""
        return (
            self.process is not None
            and (hello.pid, hello.pool) == (self.process.pid, self._spec.pool)
            and hello.incarnation == self.incarnation != ""
        )

    def apply_event(self, event: lifecycle.Event) -> None:
        """Apply an event to the worker's life cycle, and perform the resulting actions."""
        before = self.child.state
        self.child, acts = lifecycle.step(self.child, event, monotonic())
        if before is not State.KILLED and self.child.state is State.KILLED:
            log.warning("killing a worker that does not answer", extra=self._log_fields())
            self._log_event("hangs", f"pid {self.process.pid if self.process else None} is killed")
        for act in acts:
            self._perform_act(act)
        if self.has_ended and isinstance(event, NotNeeded | Exited):
            # The pool is not wanted and has no worker any more: remove the files of its workers,
            # too.
            self.clear_files()

    def on_message(self, sender: bytes, message: ToSupervisor) -> None:
        """Handle a message of the pool's worker."""
        self.apply_event(lifecycle.MessageReceived())
        match message:
            case Hello(session=session, generation=generation):
                self.identity = sender
                self._version = message.version
                self._known_generation = generation if session == self._session else None
                self._pods_hold_sent = None
                self._is_state_requested = False
                if self.is_adopting and (why := self._incompatibility(message)):
                    log.warning("worker is replaced", extra=self._log_fields() | {"why": why})
                    self._log_event("replaced", why)
                    self.apply_event(Incompatible())
                elif self.predecessor is None:
                    promote_successor(self._spec)
            case StateReport():
                self._on_state_report(message)
            case Report():
                self.report = message
            case WorkerCounters():
                self.counters.figures = message
            case SnapshotRequest():
                self._known_generation = None
            case Heartbeat(session=session, generation=generation, dropped_frames=dropped):
                self.dropped_frames = self._dropped_before + dropped
                self._is_state_requested = False  # it sends heartbeats but no answer: ask again
                current = session == self._session and generation == self._known_generation
                if not current and monotonic() - self._sent_at > STALE_S:
                    self._known_generation = None

    def sync_state(self, router: Router) -> None:
        """Send the worker what it lacks. What it can't take now is computed again later."""
        desired = self.desired
        if self.identity is None:
            return
        if self.is_adopting:
            if not self._is_state_requested:
                request = encode_message(StateRequest())
                self._is_state_requested = router.send(self.identity, request)
            return
        if desired is None or not self._send_pods_hold(router, self.identity):
            return
        if self._known_generation != desired.generation:
            update = update_message(desired, self._session, self._known_generation)
            if not router.send(self.identity, encode_message(update)):
                return
            self._known_generation = desired.generation
            self._sent_at = monotonic()
            self.counters.stop_latency(self._sent_at)
        if self._to_check and router.send(
            self.identity, encode_message(CheckDevices(tuple(sorted(self._to_check))))
        ):
            self._to_check.clear()
        if self._is_full_check_due and router.send(self.identity, encode_message(CheckDevices())):
            self._is_full_check_due = False

    def _send_pods_hold(self, router: Router, worker: bytes) -> bool:
        """Send the devices that pods hold, if they changed; return True if the worker has them."""
        wanted = self.pods_hold
        if wanted is None or wanted == self._pods_hold_sent:
            return wanted is not None
        if router.send(worker, encode_message(wanted)):
            self._pods_hold_sent = wanted
        return self._pods_hold_sent is wanted

    def request_check(self, devices: Iterable[DeviceId]) -> None:
        """Request an immediate health check of these devices."""
        self._to_check.update(devices)

    def request_check_all(self) -> None:
        """Request a health check of all devices, after more urgent ones."""
        self._is_full_check_due = True

    def reap_worker(self) -> None:
        """Reap the worker, whose pidfd has become readable, and record its exit."""
        if self.process is None:
            return
        end = processes.reap(self.process)
        facts = self._log_fields() | {"how": end.how}
        cause = "hang" if self.child.state is State.KILLED else end.cause
        if self.child.state is State.LEAVING:
            log.info("worker left", extra=facts)
            self._log_event("left", end.how)
        else:
            log.error("worker died", extra=facts)
            self._log_event("died", end.how)
        self._record_end(end.how)
        self._note_exit(cause)

    def reap_predecessor(self) -> None:
        """Reap the predecessor, whose pidfd has become readable."""
        if self.predecessor is None:
            return
        self.predecessor.reap()
        self.predecessor = None
        promote_successor(self._spec)
        if self.has_ended:
            self.clear_files()

    def advance_predecessor(self, now: float) -> None:
        """Drain the predecessor once the kubelet lists its successor (monotonic seconds)."""
        if self.predecessor is not None:
            phase = self.report.phase if self.report else None
            self.predecessor.send_due_signal(self.child.state, phase, now)

    @property
    def has_ended(self) -> bool:
        """True if no worker serves the pool, and none is wanted."""
        return self.child.state is State.NONE and self.predecessor is None

    @property
    def deadlines(self) -> tuple[float, ...]:
        """Next deadlines of the pool's workers (monotonic seconds)."""
        replaced = self.predecessor.next_deadline if self.predecessor else None
        return tuple(one for one in (self.child.deadline, replaced) if one is not None)

    @property
    def pidfds(self) -> dict[int, Callable[[], None]]:
        """The pidfds of the pool's workers, each with the function to call when it is readable."""
        found = {self.process.pidfd: self.reap_worker} if self.process else {}
        if self.predecessor is not None:
            found[self.predecessor.process.pidfd] = self.reap_predecessor
        return found

    def update_counters(self, now: float) -> None:
        """Add unavailability up to ``now`` (monotonic seconds) to the counters."""
        desired = self.desired if self.configured else None
        # While a predecessor serves, nothing is unavailable, and its state is not known.
        state = self.child.state if self.predecessor is None else State.ADOPTING
        self.counters.update_unavailability(desired, state, self.report, now)

    def apply_pod_devices(self, known: PodDevices) -> None:
        """Apply the devices that pods hold."""
        pool = self._spec.pool
        self.pods_hold = pods_hold(pool, known)
        self.holders, self._pod_source = holders_of(pool, known.devices), known.source

    def clear_files(self) -> None:
        """Remove the pool's files on the host; keep its CDI spec while a pod needs it."""
        needed = is_spec_needed(self._spec.pool, self.pods_hold)
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
        """Return True if no worker of any supervisor serves the pool."""
        return processes.is_unlocked(self._spec.lock_path)

    def take_snapshot(self, now: float) -> PoolSnapshot:
        """Return a snapshot of the pool for the status."""
        end = self.last_exit
        return PoolSnapshot(
            roster=self.desired,
            child=self.child,
            pid=self.process.pid if self.process else None,
            report=self.report,
            last_exit=f"{end.how} {now - end.at:.0f} s ago" if end else None,
            last_log=end.last_log if end else (),
            version=self._version,
            is_replacing=self.predecessor is not None,
            holders=self.holders,
            pod_source=self._pod_source,
        )

    def _perform_act(self, act: Act) -> None:
        match act:
            case Act.SPAWN:
                self._start_worker()
            case Act.REPLACE if self.process:
                self.predecessor = ReplacedWorker(self._spec, self.process, self.identity)
                self._forget_worker()
                self._start_worker()
            case Act.DRAIN if self.process:
                processes.send(self.process, signal.SIGTERM)
            case Act.KILL if self.process:
                processes.send(self.process, signal.SIGKILL)
            case _:
                pass

    def _start_worker(self) -> None:
        try:
            if self.predecessor is None and self.adopt_existing():
                return
            self.incarnation = secrets.token_hex(8)
            earlier = self.counters.figures = carried_over(
                self.counters.figures or WorkerCounters()
            )
            spec = msgspec.structs.replace(
                self._spec,
                incarnation=self.incarnation,
                earlier=earlier,
                is_successor=self.predecessor is not None,
            )
            self.process = processes.spawn_worker(spec)
        except OSError as error:
            self._record_end(f"could not be started: {error}")
            log.exception("worker could not be started", extra={"pool": self._spec.pool})
            self._log_event("not started", str(error))
            self._note_exit("not-started")
        else:
            log.info("worker started", extra=self._log_fields())
            self._log_event("started", f"pid {self.process.pid}")

    def _note_exit(self, cause: str) -> None:
        before = self.child.restarts
        self.apply_event(Exited(random.random()))  # noqa: S311 - jitter
        if self.child.restarts > before:
            self.counters.restarts[cause] += 1

    def _incompatibility(self, hello: Hello) -> str:
        """Return the reason why an orphan cannot be adopted; empty if it can."""
        if hello.version != VERSION:
            return f"it is of version {hello.version}, this is {VERSION}"
        if hello.options != self._spec.options_digest:
            return "it was forked with other options than those of now"
        return ""

    def _on_state_report(self, message: StateReport) -> None:
        if not self.is_adopting or (message.pool and message.pool.name != self._spec.pool):
            return
        if message.pool is not None:
            self.desired = from_orphan(message.pool, message.devices, self.desired, now=monotonic())
        log.info("worker adopted", extra=self._log_fields() | {"devices": len(message.devices)})
        self.counters.adoptions += 1
        self._log_event("adopted", f"pid {self.process.pid if self.process else None}")
        self.apply_event(StateReceived())

    def _record_end(self, how: str) -> None:
        remove_stale_socket(self._spec, self.report)
        self._dropped_before = self.dropped_frames
        self.counters.cancel_latency()
        if self.counters.figures is not None:
            self.counters.figures = carried_over(self.counters.figures)
        self.last_exit = record_exit(self._spec, how)
        self._forget_worker()

    def _forget_worker(self) -> None:
        self.process = None
        self.identity = None
        self.incarnation = self._version = ""
        self._known_generation = None
        self._pods_hold_sent = None
        self._to_check.clear()
        self._is_full_check_due = False  # the next worker checks all of them anyway
        self.report = None

    def _log_event(self, what: str, why: str) -> None:
        self._event_log.record_event("worker", what, pool=self._spec.pool, why=why)

    def _log_fields(self) -> dict[str, object]:
        return {"pool": self._spec.pool, "pid": self.process.pid if self.process else None}

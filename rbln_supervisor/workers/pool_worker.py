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
from rbln_supervisor.workers.replaced_worker import ReplacedWorker, promote
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.counters import WorkerCounters, carried_over
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import History
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
from rbln_worker.spec import WorkerSpec

STALE_S: Final = 2.0
"""Seconds after a send in which heartbeats may name an older generation; then it was lost."""

log = logging.getLogger(__name__)


class PoolWorker:
    """A pool with a worker, now or earlier."""

    def __init__(self, boot: WorkerSpec, session: str, journal: EventLog) -> None:
        self._boot = boot
        self._journal = journal
        self._session = session
        self._held: int | None = None
        self._sent_at = 0.0
        self.holders: Holders = {}
        """Pods that use the pool's devices."""
        self._pod_source = PodSource.NONE
        self.pods_hold: PodsHold | None = None
        """Pod devices that the worker needs before any other message; None: not known yet."""
        self._pods_hold_sent: PodsHold | None = None
        self._nudged: set[DeviceId] = set()
        """Devices for which a health check is to be requested."""
        self._nudged_all = False
        self._recalled = False
        """True if an orphan was asked for its state."""
        self.configured = True
        self.roster: DesiredState | None = None
        self.child = Child()
        self.life: ChildProcess | None = None
        self.predecessor: ReplacedWorker | None = None
        """Serves until the kubelet lists the new worker."""
        self.incarnation = ""
        self._version = ""
        self.identity: bytes | None = None
        self.report: Report | None = None
        self._dropped_before = 0
        self.dropped_frames = 0
        """Our frames that workers could not read."""
        self.obituary: ExitRecord | None = None
        self.account = PoolCounters()

    @property
    def is_adopting(self) -> bool:
        """True while an orphan has not reported its state: it may know devices that are gone."""
        return self.child.state is State.ADOPTING

    def meet(self) -> bool:
        """Return True if an orphan serves the pool; start to adopt it then.

        Raises:
            OSError: A process that cannot be seen or watched holds the lock.
        """
        met = processes.lock_holder(self._boot.lock_path)
        if met is None:
            return False
        self.life, self.incarnation = met.life, met.incarnation
        log.info("a worker of an earlier supervisor serves", extra=self._names())
        self.event(OrphanFound())
        return True

    def is_said_by(self, hello: Hello) -> bool:
        """Return True if a hello is from the pool's current worker."""
        return (
            self.life is not None
            and (hello.pid, hello.pool) == (self.life.pid, self._boot.pool)
            and hello.incarnation == self.incarnation != ""
        )

    def event(self, event: lifecycle.Event) -> None:
        """Apply an event to the worker's life cycle, and perform the resulting actions."""
        before = self.child.state
        self.child, acts = lifecycle.step(self.child, event, monotonic())
        if before is not State.KILLED and self.child.state is State.KILLED:
            log.warning("killing a worker that does not answer", extra=self._names())
            self._note("hangs", f"pid {self.life.pid if self.life else None} is killed")
        for act in acts:
            self._perform(act)
        if self.has_ended and isinstance(event, NotNeeded | Exited):
            # The pool is not wanted and has no worker any more: remove the files of its workers,
            # too.
            self.clear_files()

    def hear(self, sender: bytes, said: ToSupervisor) -> None:
        """Handle a message of the pool's worker."""
        self.event(lifecycle.MessageReceived())
        match said:
            case Hello(session=session, generation=generation):
                self.identity = sender
                self._version = said.version
                self._held = generation if session == self._session else None
                self._pods_hold_sent = None
                self._recalled = False
                if self.is_adopting and (why := self._unfit(said)):
                    log.warning("worker is replaced", extra=self._names() | {"why": why})
                    self._note("replaced", why)
                    self.event(Incompatible())
                elif self.predecessor is None:
                    promote(self._boot)
            case StateReport():
                self._adopt(said)
            case Report():
                self.report = said
            case WorkerCounters():
                self.account.figures = said
            case History(happened=happened):
                self._journal.hear(self._boot.pool, self.incarnation, happened)
            case SnapshotRequest():
                self._held = None
            case Heartbeat(session=session, generation=generation, dropped_frames=dropped):
                self.dropped_frames = self._dropped_before + dropped
                self._recalled = False  # it sends heartbeats but no answer: ask again
                current = session == self._session and generation == self._held
                if not current and monotonic() - self._sent_at > STALE_S:
                    self._held = None

    def feed(self, router: Router) -> None:
        """Send the worker what it lacks. What it can't take now is computed again later."""
        roster = self.roster
        if self.identity is None:
            return
        if self.is_adopting:
            if not self._recalled:
                self._recalled = router.send(self.identity, encode_message(StateRequest()))
            return
        if roster is None or not self._feed_pods_hold(router, self.identity):
            return
        if self._held != roster.generation:
            update = update_message(roster, self._session, self._held)
            if not router.send(self.identity, encode_message(update)):
                return
            self._held = roster.generation
            self._sent_at = monotonic()
            self.account.told(self._sent_at)
        if self._nudged and router.send(
            self.identity, encode_message(CheckDevices(tuple(sorted(self._nudged))))
        ):
            self._nudged.clear()
        if self._nudged_all and router.send(self.identity, encode_message(CheckDevices())):
            self._nudged_all = False

    def _feed_pods_hold(self, router: Router, worker: bytes) -> bool:
        """Send the devices that pods hold, if they changed; return True if the worker has them."""
        wanted = self.pods_hold
        if wanted is None or wanted == self._pods_hold_sent:
            return wanted is not None
        if router.send(worker, encode_message(wanted)):
            self._pods_hold_sent = wanted
        return self._pods_hold_sent is wanted

    def nudge(self, devices: Iterable[DeviceId]) -> None:
        """Request an immediate health check of these devices."""
        self._nudged.update(devices)

    def nudge_all(self) -> None:
        """Request a health check of all devices, after more urgent ones."""
        self._nudged_all = True

    def bury(self) -> None:
        """Reap the worker, whose pidfd has become readable, and record its exit."""
        if self.life is None:
            return
        end = processes.reap(self.life)
        facts = self._names() | {"how": end.how}
        cause = "hang" if self.child.state is State.KILLED else end.cause
        if self.child.state is State.LEAVING:
            log.info("worker left", extra=facts)
            self._note("left", end.how)
        else:
            log.error("worker died", extra=facts)
            self._note("died", end.how)
        self._end(end.how)
        self._die(cause)

    def bury_predecessor(self) -> None:
        """Reap the predecessor, whose pidfd has become readable."""
        if self.predecessor is None:
            return
        self.predecessor.bury()
        self.predecessor = None
        promote(self._boot)
        if self.has_ended:
            self.clear_files()

    def advance_predecessor(self, now: float) -> None:
        """Drain the predecessor once the kubelet lists its successor (monotonic seconds)."""
        if self.predecessor is not None:
            phase = self.report.phase if self.report else None
            self.predecessor.advance(self.child.state, phase, now)

    @property
    def has_ended(self) -> bool:
        """True if no worker serves the pool, and none is wanted."""
        return self.child.state is State.NONE and self.predecessor is None

    @property
    def deadlines(self) -> tuple[float, ...]:
        """Next deadlines of the pool's workers (monotonic seconds)."""
        replaced = self.predecessor.deadline if self.predecessor else None
        return tuple(one for one in (self.child.deadline, replaced) if one is not None)

    @property
    def pidfds(self) -> dict[int, Callable[[], None]]:
        """The pidfds of the pool's workers, each with the function to call when it is readable."""
        found = {self.life.pidfd: self.bury} if self.life else {}
        if self.predecessor is not None:
            found[self.predecessor.life.pidfd] = self.bury_predecessor
        return found

    def weigh(self, now: float) -> None:
        """Add unavailability up to ``now`` (monotonic seconds) to the counters."""
        roster = self.roster if self.configured else None
        # While a predecessor serves, nothing is unavailable, and its state is not known.
        state = self.child.state if self.predecessor is None else State.ADOPTING
        self.account.weigh(roster, state, self.report, now)

    def take_pods(self, known: PodDevices) -> None:
        """Apply the devices that pods hold."""
        pool = self._boot.pool
        self.pods_hold = pods_hold(pool, known)
        self.holders, self._pod_source = holders_of(pool, known.devices), known.source

    def clear_files(self) -> None:
        """Remove the pool's files on the host; keep its CDI spec while a pod needs it."""
        needed = is_spec_needed(self._boot.pool, self.pods_hold)
        remove_files(self._boot.manifest_path, keep=self._boot.spec_folder if needed else None)

    def forget(self) -> None:
        """Remove the workers' files of a pool that is not configured any more and has no worker.

        The lock file is removed only if no process holds it: otherwise a worker that can't be seen
        from here could not be found any more.
        """
        boot = self._boot
        self._journal.forget(boot.pool)
        with contextlib.suppress(OSError):
            boot.tail_path.unlink(missing_ok=True)
            if self.is_free():
                boot.lock_path.unlink(missing_ok=True)

    def is_free(self) -> bool:
        """Return True if no worker of any supervisor serves the pool."""
        return processes.is_unlocked(self._boot.lock_path)

    def seen(self, now: float) -> PoolSnapshot:
        """Return a snapshot of the pool for the status."""
        end = self.obituary
        return PoolSnapshot(
            roster=self.roster,
            child=self.child,
            pid=self.life.pid if self.life else None,
            report=self.report,
            last_exit=f"{end.how} {now - end.at:.0f} s ago" if end else None,
            last_log=end.last_log if end else (),
            version=self._version,
            is_replacing=self.predecessor is not None,
            holders=self.holders,
            pod_source=self._pod_source,
        )

    def _perform(self, act: Act) -> None:
        match act:
            case Act.SPAWN:
                self._spawn()
            case Act.REPLACE if self.life:
                self.predecessor = ReplacedWorker(self._boot, self.life, self.identity)
                self._forget_worker()
                self._spawn()
            case Act.DRAIN if self.life:
                processes.send(self.life, signal.SIGTERM)
            case Act.KILL if self.life:
                processes.send(self.life, signal.SIGKILL)
            case _:
                pass

    def _spawn(self) -> None:
        try:
            if self.predecessor is None and self.meet():
                return
            self.incarnation = secrets.token_hex(8)
            earlier = self.account.figures = carried_over(self.account.figures or WorkerCounters())
            boot = msgspec.structs.replace(
                self._boot,
                incarnation=self.incarnation,
                earlier=earlier,
                is_successor=self.predecessor is not None,
            )
            self.life = processes.spawn_worker(boot)
        except OSError as error:
            self._end(f"could not be started: {error}")
            log.exception("worker could not be started", extra={"pool": self._boot.pool})
            self._note("not started", str(error))
            self._die("not-started")
        else:
            log.info("worker started", extra=self._names())
            self._note("started", f"pid {self.life.pid}")

    def _die(self, cause: str) -> None:
        before = self.child.restarts
        self.event(Exited(random.random()))  # noqa: S311 - jitter
        if self.child.restarts > before:
            self.account.restarts[cause] += 1

    def _unfit(self, hello: Hello) -> str:
        """Return the reason why an orphan cannot be adopted; empty if it can."""
        if hello.version != VERSION:
            return f"it is of version {hello.version}, this is {VERSION}"
        if hello.options != self._boot.options_digest:
            return "it was forked with other options than those of now"
        return ""

    def _adopt(self, said: StateReport) -> None:
        if not self.is_adopting or (said.pool and said.pool.name != self._boot.pool):
            return
        if said.pool is not None:
            self.roster = from_orphan(said.pool, said.devices, self.roster, now=monotonic())
        log.info("worker adopted", extra=self._names() | {"devices": len(said.devices)})
        self.account.adoptions += 1
        self._note("adopted", f"pid {self.life.pid if self.life else None}")
        self.event(StateReceived())

    def _end(self, how: str) -> None:
        remove_stale_socket(self._boot, self.report)
        self._dropped_before = self.dropped_frames
        self.account.forgive()
        if self.account.figures is not None:
            self.account.figures = carried_over(self.account.figures)
        self.obituary = record_exit(self._boot, how)
        self._forget_worker()

    def _forget_worker(self) -> None:
        self.life = None
        self.identity = None
        self.incarnation = self._version = ""
        self._held = None
        self._pods_hold_sent = None
        self._nudged.clear()
        self._nudged_all = False  # the next worker checks all of them anyway
        self.report = None

    def _note(self, what: str, why: str) -> None:
        self._journal.note("worker", what, pool=self._boot.pool, why=why)

    def _names(self) -> dict[str, object]:
        return {"pool": self._boot.pool, "pid": self.life.pid if self.life else None}

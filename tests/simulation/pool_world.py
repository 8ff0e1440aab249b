"""A pool in virtual time: its step, the workers that its effects start, and a lossy connection.

All choices come from one seed, so a story that fails can be told again.
"""

import heapq
from itertools import count
from random import Random
from typing import Final

import msgspec

from rbln_supervisor.core.workers.backoff import FIRST_BACKOFF_S, JITTER
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import Act, State
from rbln_supervisor.core.workers.managed_pool import (
    ManagedPool,
    MessageSent,
    PoolEffect,
    PoolEvent,
    PredecessorExited,
    WorkerStarted,
)
from rbln_supervisor.core.workers.pool_step import due_message, is_from_worker, step_pool
from rbln_supervisor.core.workers.worker_events import (
    DeadlinePassed,
    Exited,
    MessageReceived,
    Needed,
    NotNeeded,
    OrphanFound,
)
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.messages import (
    PodsHold,
    Snapshot,
    StateRequest,
    ToSupervisor,
)
from rbln_worker.contract.pool import DraExport
from rbln_worker.core.pool_snapshot import HeldPool
from tests.simulation.sim_worker import OPTIONS, SPEC, SimWorker

SESSION: Final = "session"
BEAT_S: Final = 2.0


class PoolWorld:
    """One pool, its workers and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - one story for each seed
        self.now = 0.0
        self.pool = ManagedPool(SPEC.name, SESSION, OPTIONS, pods_hold=PodsHold())
        self.faults = True
        self.living: dict[int, SimWorker] = {}
        self.current: SimWorker | None = None
        self.predecessor: SimWorker | None = None
        self.slices: set[str] = set()
        """Drivers with ResourceSlices."""
        self.spawns: list[float] = []
        self.exits: list[float] = []
        self.log: list[str] = []
        self._pids = count(100)
        self._queue: list[tuple[float, int, object]] = []
        self._order = count()

    def orphan(
        self, *, options: str = OPTIONS, driver: str = "", held: HeldPool | None = None
    ) -> None:
        """Let a worker of an earlier supervisor hold the lock, and adopt it."""
        worker = self._fork(options=options, driver=driver, held=held)
        self.current = worker
        self.apply(OrphanFound(worker.pid, worker.incarnation, driver))

    def export(self, driver: str) -> None:
        """Export the pool by this DRA driver from now on; empty: by the device-plugin API."""
        self.exits.clear()
        if driver != self.pool.driver:
            self.apply(self.pool.end_of_export)
        self.pool = msgspec.structs.replace(self.pool, driver=driver)

    def want(self, *names: str) -> None:
        """Set the devices that the pool should list."""
        driver = self.pool.driver
        spec = msgspec.structs.replace(SPEC, dra=DraExport(driver) if driver else None)
        before = self.pool.desired or DesiredState(spec)
        devices = {
            DeviceId(name): Device(
                DeviceId(name), PciFunction(Bdf(name), "1eff", "1120", 0x12, "rebellions", 0)
            )
            for name in sorted(names)
        }
        after = DesiredState(spec, devices, generation=before.generation + 1)
        self.pool = msgspec.structs.replace(self.pool, desired=after)
        if devices:
            self.apply(Needed())

    def leave(self) -> None:
        """Drain the pool: no back-off applies to a start after that."""
        self.exits.clear()
        self.apply(NotNeeded())

    def apply(self, event: PoolEvent) -> None:
        """Apply an event and its effects, as the shell does."""
        events = [event]
        while events:
            event = events.pop(0)
            before = self.pool.child.state
            self.pool, effects = step_pool(self.pool, event, self.now)
            self.log.append(f"{self.now:.2f} {event} {before} -> {self.pool.child.state} {effects}")
            events += [caused for one in effects if (caused := self._perform(one))]
        self.check()

    def run(self, seconds: float) -> None:
        """Let time pass: messages arrive, processes end, deadlines pass."""
        end = self.now + seconds
        while True:
            due = [*self.pool.deadlines, *(at for at, *_ in self._queue[:1]), end]
            self.now = max(self.now, min(due))
            if self.now >= end:
                return
            while self._queue and self._queue[0][0] <= self.now:
                self._happen(heapq.heappop(self._queue)[2])
            self.apply(DeadlinePassed())
            self.send_due()

    def send_due(self) -> None:
        """Send what the worker lacks; a connection may take nothing."""
        while (message := due_message(self.pool)) is not None and not self._is_fault(0.1):
            address = self.pool.worker.address
            self.apply(MessageSent(message))
            worker = next((w for w in self.living.values() if w.address == address), None)
            if worker is not None and not self._is_fault(0.1):  # otherwise it is lost
                self._later(self.random.uniform(0, 0.05), (worker, message))

    def check(self) -> None:
        """Assert what holds at any time."""
        unknown = [
            worker
            for worker in self.living.values()
            if worker is not self.current and worker is not self.predecessor
        ]
        assert not unknown, "\n".join(self.log[-20:])
        assert (self.predecessor is None) == (self.pool.predecessor is None)
        drivers = {worker.driver for worker in self.living.values()}
        assert len(drivers) < 2, "\n".join(self.log[-20:])

    def kill(self, worker: SimWorker) -> None:
        """Let a worker die."""
        self._end(worker)

    def break_something(self) -> None:
        """Let one thing go wrong with a living worker."""
        if not self.living:
            return
        worker = self.random.choice(list(self.living.values()))
        match self.random.choice(["dies", "hangs", "ignores SIGTERM", "forgets"]):
            case "dies":
                self._end(worker)
            case "hangs":
                worker.hangs = True
            case "ignores SIGTERM":
                worker.ends_on_term = False
            case _:
                worker.held = None

    def _perform(self, effect: PoolEffect) -> PoolEvent | None:
        match effect:
            case Act.SPAWN:
                return self._spawn()
            case Act.REPLACE:
                assert self.predecessor is None
                self.predecessor, self.current = self.current, None
                return self._spawn()
            case Act.DRAIN | Act.DRAIN_PREDECESSOR:
                worker = self.current if effect is Act.DRAIN else self.predecessor
                if worker is not None and worker.ends_on_term:
                    self._later(self.random.uniform(0, 0.5), worker)
            case Act.KILL | Act.KILL_PREDECESSOR:
                worker = self.current if effect is Act.KILL else self.predecessor
                if worker is not None:
                    self._later(self.random.uniform(0, 0.5), worker)
            case _:
                pass
        return None

    def _spawn(self) -> PoolEvent:
        assert self.current is None or self.current.pid not in self.living, "two workers"
        failures = self.pool.child.failures
        if failures > 1 and self.exits:
            least = FIRST_BACKOFF_S * (1 - JITTER) * 2 ** min(failures - 2, 5)
            assert self.now - self.exits[-1] >= least, f"back-off of exit {failures}"
        self.spawns.append(self.now)
        if self._is_fault(0.2):
            return Exited(self.random.random(), "could not be started", "not-started")
        self.current = self._fork(driver=self.pool.driver)
        if self._is_fault(0.2):
            self._later(self.random.uniform(0, 1), self.current)  # dies early
        return WorkerStarted(self.current.pid, self.current.incarnation)

    def _fork(
        self, *, options: str = OPTIONS, driver: str = "", held: HeldPool | None = None
    ) -> SimWorker:
        worker = SimWorker(next(self._pids), options=options, driver=driver, held=held)
        self.slices |= {driver} - {""}
        self.living[worker.pid] = worker
        worker.hangs = self._is_fault(0.1)
        self._later(0.1, (worker, "hello"))
        self._later(BEAT_S, (worker, "beat"))
        return worker

    def _happen(self, what: object) -> None:
        match what:
            case SimWorker() as worker:
                self._end(worker)
            case (SimWorker() as worker, "hello") if self._speaks(worker):
                self._say(worker, worker.hello(), is_safe=True)
            case (SimWorker() as worker, "beat") if worker.pid in self.living:
                if self._speaks(worker):
                    self._say(worker, worker.beat())
                self._later(BEAT_S, (worker, "beat"))
            case (SimWorker() as worker, MessageReceived() as frame):
                if is_from_worker(self.pool, frame):
                    self.apply(frame)
            case (
                SimWorker() as worker,
                Snapshot() | PodsHold() | StateRequest() as message,
            ):
                if self._speaks(worker):
                    for answer in worker.receive(message):
                        self._say(worker, answer)
                    if worker.withdraws and not self._is_fault(0.1):
                        self.slices.discard(worker.driver)
                        self._later(self.random.uniform(0, 2), worker)
            case _:
                pass

    def _say(self, worker: SimWorker, message: ToSupervisor, *, is_safe: bool = False) -> None:
        """Send a message; it may be lost or doubled. A hello begins a connection."""
        copies = 1 if is_safe else 0 if self._is_fault(0.1) else 2 if self._is_fault(0.1) else 1
        for _ in range(copies):
            frame = MessageReceived(worker.address, message)
            self._later(self.random.uniform(0, 0.05), (worker, frame))

    def _speaks(self, worker: SimWorker) -> bool:
        return worker.pid in self.living and not worker.hangs

    def _end(self, worker: SimWorker) -> None:
        if self.living.pop(worker.pid, None) is None:
            return
        if worker is self.predecessor:
            self.predecessor = None
            self.apply(PredecessorExited())
        elif worker is self.current:
            self.current = None
            ending = {State.LEAVING, State.WITHDRAWING}
            if self.pool.child.state in ending or not self.pool.child.wanted:
                self.exits.clear()
            else:
                self.exits.append(self.now)
            self.apply(Exited(self.random.random(), "ended", "SIGKILL"))

    def _later(self, seconds: float, what: object) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), what))

    def _is_fault(self, chance: float) -> bool:
        return self.faults and self.random.random() < chance

    def is_served(self) -> bool:
        """Return True if the one living worker has the desired state."""
        wanted, worker = self.pool.desired, self.current
        assert wanted is not None
        return (
            list(self.living.values()) == [worker]
            and worker is not None
            and self.pool.child.state is State.UP
            and worker.held is not None
            and worker.held.devices == wanted.devices
            and worker.driver == self.pool.driver
        )

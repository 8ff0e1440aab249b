"""One life of a supervisor: its steps of a pool and of discoveries, in virtual time."""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.control.protocol import RescanReply
from rbln_supervisor.core.discovery.links import LinkTable
from rbln_supervisor.core.step import discovery_step
from rbln_supervisor.core.step.discovery_step import (
    DiscoveryEffect,
    DiscoveryEvent,
    DiscoveryState,
    step_discovery,
)
from rbln_supervisor.core.workers import managed_pool
from rbln_supervisor.core.workers.assignment import assign_devices
from rbln_supervisor.core.workers.desired_state import next_removal
from rbln_supervisor.core.workers.lifecycle import Act
from rbln_supervisor.core.workers.managed_pool import ManagedPool, PoolEffect, PoolEvent
from rbln_supervisor.core.workers.pool_step import due_message, is_from_worker, step_pool
from rbln_supervisor.core.workers.worker_events import (
    DeadlinePassed,
    Exited,
    MessageReceived,
    Needed,
    OrphanFound,
)
from rbln_worker.contract import messages
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from tests.simulation.channel import Channel
from tests.simulation.simulated_worker import POOL, SimulatedWorker
from tests.unit.inventory import npu

if TYPE_CHECKING:
    from tests.simulation.joined_world import JoinedWorld

GRACE_S: Final = 15.0
RESCAN_S: Final = 20.0
DISCOVERY_TIMEOUT_S: Final = 10.0
CONFIG: Final = NodeConfig((PoolConfig(POOL, (SelectorObject(),)),))


class SimulatedSupervisor:
    """One life of a supervisor with one pool."""

    def __init__(self, world: "JoinedWorld", life: int, options: str) -> None:
        self.alive = True
        self.pool = ManagedPool(
            POOL.name, f"session {life}", options, pods_hold=messages.PodsHold()
        )
        self.current: SimulatedWorker | None = None
        self.replaced: SimulatedWorker | None = None
        self.channels: dict[bytes, Channel] = {}
        self._world = world
        self._discoveries = DiscoveryState(RESCAN_S, "")
        self._is_discovering = False
        self._node: NodeInventory | None = None
        self._is_deferred = False
        self._timer = 0
        if orphan := world.lock_holder():
            self._adopt(orphan)
            self.apply(OrphanFound(orphan.pid, orphan.incarnation))
        self._run_due()

    def post(self, event: PoolEvent) -> None:
        """Take an event of the pool, and do what is due then."""
        if self.alive:
            self.apply(event)
            self._run_due()

    def apply(self, event: PoolEvent) -> None:
        """Step, and carry out the effects."""
        pool_events = deque([event])
        while pool_events:
            self._world.steps += 1
            self.pool, effects = step_pool(self.pool, pool_events.popleft(), self._now)
            pool_events.extend(filter(None, map(self._perform, effects)))

    def receive(self, address: bytes, message: messages.ToSupervisor) -> None:
        """Take a worker's message."""
        frame = MessageReceived(address, message)
        if self.alive and is_from_worker(self.pool, frame):
            self.post(frame)

    def functions_changed(self, bdf: Bdf) -> None:
        """Take a kernel event of a function."""
        if self.alive:
            only = None if self._node is None else frozenset({bdf})
            self._discover(discovery_step.FunctionsChanged(only, self._now))
            self._run_due()

    def worker_ended(self, worker: SimulatedWorker) -> None:
        """See the end of a process by its pidfd."""
        if worker is self.replaced:
            self.replaced = None
            self.post(managed_pool.PredecessorExited())
        elif worker is self.current:
            self.current = None
            self.post(Exited(self._world.faults.random.random(), "killed", "SIGKILL"))

    @property
    def _now(self) -> float:
        return self._world.timeline.now

    def _run_due(self) -> None:
        """Do what the loop does in each iteration, and set the timer for the next one."""
        removal = next_removal(self.pool.desired, GRACE_S) if self.pool.desired else None
        removal_at = float("inf") if removal is None else removal
        self._discover(discovery_step.TimePassed(self._is_discovering, removal_at))
        self.apply(DeadlinePassed())
        if self._is_deferred and not self.pool.is_adopting:
            self._assign_devices()
        self._send_due()
        due = discovery_step.next_discovery_at(self._discoveries, removal_at)
        deadlines = [*self.pool.deadlines, *(() if self._is_discovering else (due,))]
        self._timer += 1
        if (first := min(deadlines, default=float("inf"))) < float("inf"):
            self._world.timeline.at(first, partial(self._timer_due, self._timer))

    def _timer_due(self, number: int) -> None:
        if self.alive and number == self._timer:
            self._run_due()

    def _send_due(self) -> None:
        while (message := due_message(self.pool)) is not None:
            channel = self.channels.get(self.pool.worker.address or b"")
            if channel is None or not channel.send_to_worker(message):
                return
            self.apply(managed_pool.MessageSent(message))

    # Discoveries

    def _discover(self, event: DiscoveryEvent) -> None:
        discovery_events = deque([event])
        while discovery_events:
            self._discoveries, effects = step_discovery(
                self._discoveries, discovery_events.popleft(), self._now
            )
            discovery_events.extend(filter(None, map(self._perform_discovery, effects)))

    def _perform_discovery(self, effect: DiscoveryEffect) -> DiscoveryEvent | None:
        match effect:
            case discovery_step.StartDiscovery():
                self._is_discovering = True
                self._world.timeline.after(self._world.faults.delay(), self._read_node)
            case discovery_step.ApplyResult(request=request, result=result):
                if result.failed is None:
                    self._node = result.node
                    self._assign_devices()
                failed = result.failed is not None
                return discovery_step.ResultApplied(request, RescanReply(0), None, failed)
            case _:
                raise AssertionError(effect)
        return None

    def _read_node(self) -> None:
        functions = {
            Bdf(one): npu(Bdf(one), product=self._world.products[one])
            for one in sorted(self._world.present)
        }
        result, seconds = DiscoveryResult(NodeInventory(functions)), self._world.faults.delay()
        if self._world.faults.happens(0.05):
            result, seconds = DiscoveryResult(failed="it hangs"), DISCOVERY_TIMEOUT_S
        self._world.timeline.after(seconds, partial(self._discovery_ended, result))

    def _discovery_ended(self, result: DiscoveryResult) -> None:
        if self.alive:
            self._is_discovering = False
            chance = self._world.faults.random.random()
            self._discover(discovery_step.DiscoveryEnded(result, chance))
            self._run_due()

    def _assign_devices(self) -> None:
        """Match the last discovery with the pool, once its orphan has reported its devices."""
        self._is_deferred = self.pool.is_adopting
        if self._node is None or self._is_deferred:
            return
        before = {POOL.name: self.pool.desired}
        links, node = LinkTable(), self._node
        after = assign_devices(CONFIG, node, links, {}, before, now=self._now, grace_s=GRACE_S)
        desired = after[POOL.name]
        self.pool = msgspec.structs.replace(self.pool, desired=desired)
        if desired.devices:
            self.apply(Needed())

    # Processes

    def _adopt(self, worker: SimulatedWorker) -> None:
        self.current = worker

    def _perform(self, effect: PoolEffect) -> PoolEvent | None:
        match effect:
            case Act.SPAWN:
                return self._start_worker()
            case Act.REPLACE:
                assert self.replaced is None, "two predecessors"
                self.replaced, self.current = self.current, None
                return self._start_worker()
            case Act.DRAIN:
                self._world.terminate(self.current)
            case Act.DRAIN_PREDECESSOR:
                self._world.terminate(self.replaced)
            case Act.KILL:
                self._world.kill(self.current)
            case Act.KILL_PREDECESSOR:
                self._world.kill(self.replaced)
            case Act.PROMOTE_SUCCESSOR:
                self._world.promote_successor()
            case _:
                pass
        return None

    def _start_worker(self) -> PoolEvent:
        is_successor = self.replaced is not None
        assert self.current is None, "two workers"
        if not is_successor and (orphan := self._world.lock_holder()):
            self._adopt(orphan)
            return OrphanFound(orphan.pid, orphan.incarnation)
        if self._world.faults.happens(0.1):
            return Exited(self._world.faults.random.random(), "no memory", "not-started")
        self.current = self._world.fork_worker(self.pool.options, is_successor=is_successor)
        return managed_pool.WorkerStarted(self.current.pid, self.current.incarnation)

"""Supervisor and workers in virtual time: their steps drive each other through a lossy channel."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from rbln_supervisor.core.workers.lifecycle import LEAVE_TIMEOUT_S
from rbln_worker.contract import messages
from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.contract.messages import Hello
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.version import VERSION
from rbln_worker.core.step import events
from tests.simulation.channel import Channel
from tests.simulation.node_world import NodeWorld
from tests.simulation.simulated_supervisor import SimulatedSupervisor
from tests.simulation.simulated_worker import IDS, POOL, SimulatedWorker

REACTION_S: Final = 0.5
"""Maximum time for a process to end after a signal."""
FORK_S: Final = 0.005
"""Maximum time until a forked worker has its lock."""
PRODUCTS: Final = ("1120", "1220", "1250")
"""Products of the devices, which another device at the same address changes."""


class JoinedWorld(NodeWorld):
    """A node with a supervisor, its workers, and what happens to all of them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._forks = 0
        self._connections = 0
        self._lock: SimulatedWorker | None = None
        """The worker whose lock file has the pool's name."""
        self._successor_lock: SimulatedWorker | None = None
        """The worker whose lock file has the successor's name."""
        self._channels: dict[SimulatedWorker, Channel] = {}
        self._lives = 0
        self.products = dict.fromkeys(IDS, PRODUCTS[0])
        self.supervisor = SimulatedSupervisor(self, 0, "options")
        own = {
            self._plug_device: 6,
            self._swap_device: 6,
            self._kill_worker: 1,
            self._hang_worker: 1,
            self._kill_supervisor: 2,
        }
        self.faults.schedule({**self.node_faults, **own}, mean_s=0.4)

    def recover(self) -> None:
        """End all faults."""
        self.faults.cease()
        self.disk_is_full = False
        self.present.add(IDS[0])
        self.kubelet.start()
        for worker in self.living:
            worker.resume()

    @property
    def due_list(self) -> Mapping[str, bool]:
        """The list that the kubelet should have now: devices that are gone stay listed."""
        gone = self.supervisor.pool.desired.devices if self.supervisor.pool.desired else {}
        return {**dict.fromkeys(gone, False), **self.right_list}

    # Messages

    def receive(self, worker: SimulatedWorker, message: messages.ToSupervisor) -> None:
        """Send a message of a worker to the supervisor, if there is a connection."""
        if channel := self._channels.get(worker):
            channel.send_to_supervisor(message)

    def _connect(self, worker: SimulatedWorker, supervisor: SimulatedSupervisor) -> None:
        if not (worker.alive and supervisor.alive):
            return
        self._connections += 1
        address = b"%d" % self._connections
        channel = Channel(worker, address, self.faults, supervisor.receive)
        self._channels[worker] = supervisor.channels[address] = channel
        worker.post(events.LinkConnected())

    def _connect_later(self, worker: SimulatedWorker) -> None:
        connect = partial(self._connect, worker, self.supervisor)
        self.timeline.after(self.faults.delay(), connect)

    # Processes

    def lock_holder(self) -> SimulatedWorker | None:
        """Return the living worker that holds the pool's lock."""
        return self._lock if self._lock and self._lock.alive else None

    def owns_pool(self, worker: SimulatedWorker) -> bool:
        """Return True while no other worker's lock has replaced that of this one."""
        return worker in {self._lock, self._successor_lock}

    def promote_successor(self) -> None:
        """Rename the successor's lock over the pool's lock."""
        if self._successor_lock is not None:
            self._lock, self._successor_lock = self._successor_lock, None

    def _drain_leftover(self) -> None:
        """Drain a successor without a supervisor: by its lock file, it is of a removed pool."""
        worker = self._successor_lock
        if worker is not None and worker.alive:
            self.terminate(worker)
            self.timeline.after(LEAVE_TIMEOUT_S, partial(self.kill, worker))

    def fork_worker(self, options: str, *, is_successor: bool) -> SimulatedWorker:
        """Start a worker, which takes its lock a moment later."""
        self._forks += 1
        hello = Hello(
            PoolName(POOL.name), self._forks, f"life {self._forks}", VERSION, options=options
        )
        worker = SimulatedWorker(self, hello)
        take_lock = partial(self._take_lock, worker, is_successor=is_successor)
        self.timeline.after(self.faults.random.uniform(0, FORK_S), take_lock)
        return worker

    def _take_lock(self, worker: SimulatedWorker, *, is_successor: bool) -> None:
        """Start to serve, or end at once if another worker holds the lock."""
        if not worker.alive:
            return
        holder = self._successor_lock if is_successor else self._lock
        if holder is not None and holder.alive:
            self.kill(worker)
            return
        if is_successor:
            self._successor_lock = worker
        else:
            self._lock = worker
        self.living.append(worker)
        worker.start()
        self._connect_later(worker)

    def terminate(self, worker: SimulatedWorker | None) -> None:
        """Send SIGTERM."""
        if worker is not None:
            seconds = self.faults.random.uniform(0, REACTION_S)
            self.timeline.after(seconds, partial(self._end, worker, drained=True))

    def kill(self, worker: SimulatedWorker | None) -> None:
        """Send SIGKILL."""
        if worker is not None:
            seconds = self.faults.random.uniform(0, REACTION_S)
            self.timeline.after(seconds, partial(self._end, worker, drained=False))

    def end_worker(self, worker: SimulatedWorker) -> None:
        """Remove a worker that has ended; its supervisor sees it a moment later."""
        if worker in self.living:
            self.living.remove(worker)
        if channel := self._channels.pop(worker, None):
            channel.is_open = False
        if worker is self._successor_lock:
            self._successor_lock = None
        ended = partial(self._report_end, worker)
        self.timeline.after(0.001, ended)

    def _report_end(self, worker: SimulatedWorker) -> None:
        if self.supervisor.alive:
            self.supervisor.worker_ended(worker)

    def _end(self, worker: SimulatedWorker, *, drained: bool) -> None:
        if worker.alive and not (drained and worker.is_hung):
            worker.kill(drained=drained)

    # Faults

    def plug_device(self, device: DeviceId) -> None:
        """Plug a device in, or unplug it."""
        self.present.symmetric_difference_update({device})
        if not self.faults.happens(0.2):
            supervisor = self.supervisor
            self.timeline.after(0.005, lambda: supervisor.functions_changed(Bdf(device)))

    def swap_device(self, device: DeviceId) -> None:
        """Replace a device by one of another product at the same address."""
        self.products[device] = self.faults.random.choice(PRODUCTS)
        self.touch_node(device)
        supervisor = self.supervisor
        self.timeline.after(0.005, lambda: supervisor.functions_changed(Bdf(device)))

    def _swap_device(self) -> None:
        self.swap_device(self.faults.random.choice(IDS))

    def _plug_device(self) -> None:
        self.plug_device(self.faults.random.choice(IDS))

    def _kill_worker(self) -> None:
        if self.living:
            self._end(self.faults.random.choice(self.living), drained=False)

    def _hang_worker(self) -> None:
        if self.living:
            worker = self.faults.random.choice(self.living)
            worker.hang()
            if self.faults.happens(0.5):
                self.timeline.after(self.faults.random.uniform(0.1, 4.0), worker.resume)

    def _kill_supervisor(self) -> None:
        if self.supervisor.alive:
            self._end_supervisor()
            options = "options"
            if self.replaces_workers:
                options = self.faults.random.choice(["options", "other options"])
            self.timeline.after(
                FORK_S + self.faults.delay(1.0), partial(self._start_supervisor, options)
            )

    def replace_supervisor(self, options: str) -> None:
        """Start another supervisor at once, with these options."""
        self._end_supervisor()
        self._start_supervisor(options)

    def _end_supervisor(self) -> None:
        self.supervisor.alive = False
        for channel in self.supervisor.channels.values():
            channel.is_open = False
        self._channels.clear()

    def _start_supervisor(self, options: str) -> None:
        self._lives += 1
        self._drain_leftover()
        self.supervisor = SimulatedSupervisor(self, self._lives, options)
        for worker in self.living:
            self._connect_later(worker)


def signature(world: JoinedWorld) -> bytes:
    """Return a text of the world that two runs of a seed share."""
    return msgspec.json.encode([world.steps, world.timeline.now, dict(world.kubelet.devices)])

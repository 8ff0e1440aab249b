"""A worker's step in a world of virtual time: node, disk, supervisor and model kubelet."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from rbln_worker.contract import messages
from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode
from rbln_worker.core.health.evidence import CheckResult, Evidence
from rbln_worker.core.health.observation import GOOD, Bad
from rbln_worker.core.registration import Way
from rbln_worker.core.step import events
from tests.simulation.faults import Faults
from tests.simulation.model_kubelet import ModelKubelet, Release
from tests.simulation.simulated_worker import IDS, POOL, SPEC_TIMEOUT_S, SimulatedWorker
from tests.simulation.timeline import Timeline
from tests.unit.inventory import npu


class World:
    """Everything around a worker."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.steps = 0
        self.timeline = Timeline()
        self.faults = Faults(self.timeline, seed)
        random = self.faults.random
        self.way: Way = random.choice(["kubelet-sock", "kubelet-sock", "plugin-watcher"])
        self.uses_cdi = random.random() < 0.5
        release: Release = random.choice(["1.34", "1.37"])
        self.kubelet = ModelKubelet(self.faults, release)
        self.kubelet.on_dirs_changed = self.dirs_changed
        self.epoch = 1.8e9
        self.spec_text = ""
        self.disk_is_full = False
        self._writer: SimulatedWorker | None = None
        self._good = dict.fromkeys(IDS, True)
        self._nodes = {one: f"/dev/rbln{number}" for number, one in enumerate(IDS)}
        self._session = 0
        self._generation = 1
        self._devices = {one: Device(one, npu(Bdf(one))) for one in IDS[:3]}
        self.worker = SimulatedWorker(self, 0)
        self._connect()
        self.timeline.after(self.faults.delay(3.0), self.kubelet.start)
        actions: Mapping[Callable[[], None], int] = {
            self._break_device: 6,
            self._repair_devices: 4,
            self._move_node: 6,
            self._change_desired: 5,
            self._kill_worker: 1,
            self._restart_supervisor: 1,
            self.kubelet.start: 4,
            self.kubelet.kill: 2,
            lambda: self.kubelet.pause(random.uniform(0.1, 12.0)): 1,
            self._remove_socket: 1,
            self._jump_clock: 1,
            self._fill_disk: 1,
        }
        self.faults.schedule(actions, mean_s=0.4)

    @property
    def right_list(self) -> Mapping[str, bool]:
        """The list that the kubelet should have."""
        return {
            one: self._good[one] and device.gone is None for one, device in self._devices.items()
        }

    def recover(self) -> None:
        """End all faults."""
        self.faults.cease()
        self.disk_is_full = False
        self.kubelet.start()

    # The worker's side

    def receive(self, worker: SimulatedWorker, message: messages.ToSupervisor) -> None:
        """Take a message of the worker, as a supervisor does."""
        match message:
            case messages.Hello() | messages.Heartbeat():
                if (message.session, message.generation) != (str(self._session), self._generation):
                    self.faults.deliver(partial(worker.post, self._snapshot()))
            case messages.SnapshotRequest():
                self.faults.deliver(partial(worker.post, self._snapshot()))
            case _:
                pass

    def read_device(self, device: DeviceId) -> CheckResult:
        """Read a device's files."""
        node = self._nodes[device]
        answer = DeviceAllocation(device, (DeviceNode(node, node),), (), f'"{device}":{{}}')
        broken = Bad("npu-status", "FAULT")
        return CheckResult(Evidence(GOOD if self._good[device] else broken), answer)

    def is_writing(self, worker: SimulatedWorker) -> bool:
        """Return True while a spec of this worker is being written."""
        return self._writer is worker

    def write_spec(self, worker: SimulatedWorker, text: str) -> None:
        """Write the spec; a full disk refuses it, and a slow one is late."""
        self._writer = worker
        late = self.faults.happens(0.02)
        seconds = SPEC_TIMEOUT_S if late else self.faults.delay()
        self.timeline.after(seconds, partial(self._spec_written, worker, text, late=late))

    def remove_stale(self) -> None:
        """Remove sockets that no process serves."""
        for socket in self.kubelet.sockets:
            socket.exists = socket.exists and socket.serves
        self.kubelet.sockets = [one for one in self.kubelet.sockets if one.exists or one.serves]

    def dirs_changed(self) -> None:
        """Report a change of the kubelet's folders; inotify may lose it."""
        if not self.faults.happens(0.05):
            worker = self.worker
            self.timeline.after(0.001, lambda: worker.post(events.KubeletDirsChanged()))

    def _spec_written(self, worker: SimulatedWorker, text: str, *, late: bool) -> None:
        if self._writer is worker:
            self._writer = None
        if not worker.alive:
            return
        if self.disk_is_full or late:
            worker.post(events.SpecWritten("late" if late else "no space left on device"))
            return
        self.spec_text = text
        worker.post(events.SpecWritten())

    def _snapshot(self) -> messages.Snapshot:
        devices = tuple(self._devices.values())
        return messages.Snapshot(str(self._session), self._generation, POOL, devices)

    def _connect(self) -> None:
        worker = self.worker
        self.timeline.after(self.faults.delay(), lambda: worker.post(events.LinkConnected()))

    # Faults

    def _node_event(self, device: DeviceId) -> None:
        if not self.faults.happens(0.2):
            worker, node = self.worker, frozenset({self._nodes[device]})
            self.timeline.after(0.001, lambda: worker.post(events.NodesChanged(node)))

    def _break_device(self) -> None:
        device = self.faults.random.choice(IDS)
        self._good[device] = False
        self._node_event(device)

    def _repair_devices(self) -> None:
        for device in IDS:
            self._good[device] = True
            self._node_event(device)

    def _move_node(self) -> None:
        device = self.faults.random.choice(IDS)
        self._nodes[device] = f"/dev/rbln{self.faults.random.randrange(10, 99)}"
        self._node_event(device)

    def _change_desired(self) -> None:
        random, base = self.faults.random, self._generation
        device = random.choice(IDS)
        self._generation += 1
        before = self._devices.get(device)
        choice = random.choice(["remove", "gone", "back"])
        if choice == "remove":
            self._devices.pop(device, None)
        else:
            gone = "unplugged" if choice == "gone" and before else None
            self._devices[device] = Device(device, npu(Bdf(device)), gone=gone)
        after = self._devices.get(device)
        changed, removed = ((after,), ()) if after else ((), (device,))
        delta = messages.Delta(str(self._session), base, self._generation, changed, removed)
        self.faults.deliver(partial(self.worker.post, delta))

    def _kill_worker(self) -> None:
        if self.worker.alive:
            self.worker.kill(drained=self.faults.happens(0.5))
            self.timeline.after(self.faults.delay(1.0), self._start_worker)

    def _start_worker(self) -> None:
        self.worker = SimulatedWorker(self, self.worker.life + 1)
        self._connect()

    def _restart_supervisor(self) -> None:
        self._session += 1
        self._generation = 1
        self._connect()

    def _remove_socket(self) -> None:
        for socket in self.kubelet.sockets:
            socket.exists = False
        self.dirs_changed()

    def _jump_clock(self) -> None:
        self.epoch += self.faults.random.uniform(-1e6, 1e6)

    def _fill_disk(self) -> None:
        self.disk_is_full = not self.disk_is_full


def signature(world: World) -> bytes:
    """Return a text of the world that two runs of a seed share."""
    return msgspec.json.encode([world.steps, world.timeline.now, dict(world.kubelet.devices)])

"""A node in virtual time: devices, their files, the disk, the clock, and a model kubelet."""

from collections.abc import Callable, Mapping
from functools import partial

from rbln_worker.contract.device import DeviceId
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode
from rbln_worker.core.health.evidence import CheckResult, Evidence
from rbln_worker.core.health.observation import GOOD, Bad
from rbln_worker.core.registration import Way
from rbln_worker.core.step import events
from tests.simulation.faults import Faults
from tests.simulation.model_kubelet import ModelKubelet, Release
from tests.simulation.simulated_worker import IDS, SPEC_TIMEOUT_S, SimulatedWorker
from tests.simulation.timeline import Timeline


class NodeWorld:
    """Everything around the supervisor and its workers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.steps = 0
        self.timeline = Timeline()
        self.faults = Faults(self.timeline, seed)
        random = self.faults.random
        self.way: Way = random.choice(["kubelet-sock", "kubelet-sock", "plugin-watcher"])
        self.replaces_workers = random.random() < 0.5
        """True if supervisors differ in their options, so that workers are replaced. Two workers
        write one CDI spec then, which this world does not model."""
        self.uses_cdi = not self.replaces_workers and random.random() < 0.7
        release: Release = random.choice(["1.34", "1.37"])
        self.kubelet = ModelKubelet(self.faults, release)
        self.kubelet.on_dirs_changed = self.dirs_changed
        self.epoch = 1.8e9
        self.spec_text = ""
        self.disk_is_full = False
        self.living: list[SimulatedWorker] = []
        self.present = set(IDS[:3])
        self._writer: SimulatedWorker | None = None
        self._good = dict.fromkeys(IDS, True)
        self._nodes = {one: f"/dev/rbln{number}" for number, one in enumerate(IDS)}
        self.timeline.after(self.faults.delay(3.0), self.kubelet.start)

    @property
    def node_faults(self) -> Mapping[Callable[[], None], int]:
        """Faults of the node, each with its weight."""
        random = self.faults.random
        return {
            self._break_device: 6,
            self._repair_devices: 4,
            self._move_node: 6,
            self.kubelet.start: 4,
            self.kubelet.kill: 2,
            lambda: self.kubelet.pause(random.uniform(0.1, 12.0)): 1,
            self.remove_sockets: 1,
            self._jump_clock: 1,
            self._fill_disk: 1,
        }

    @property
    def right_list(self) -> Mapping[str, bool]:
        """The list that the kubelet should have."""
        return {one: self._good[one] for one in sorted(self.present)}

    def break_device(self, device: DeviceId) -> None:
        """Let a device fail."""
        self._good[device] = False
        self._node_event(device)

    def touch_node(self, device: DeviceId) -> None:
        """Let a device's node change, so that it is checked."""
        self._node_event(device)

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
        self._notify_workers(0.05, events.KubeletDirsChanged())

    def _notify_workers(self, loss: float, event: events.Event) -> None:
        for worker in self.living:
            if not self.faults.happens(loss):
                self.timeline.after(0.001, partial(worker.post, event))

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

    def _node_event(self, device: DeviceId) -> None:
        self._notify_workers(0.2, events.NodesChanged(frozenset({self._nodes[device]})))

    def _break_device(self) -> None:
        self.break_device(self.faults.random.choice(IDS))

    def _repair_devices(self) -> None:
        for device in IDS:
            self._good[device] = True
            self._node_event(device)

    def _move_node(self) -> None:
        device = self.faults.random.choice(IDS)
        self._nodes[device] = f"/dev/rbln{self.faults.random.randrange(10, 99)}"
        self._node_event(device)

    def remove_sockets(self) -> None:
        """Remove the files of all sockets."""
        for socket in self.kubelet.sockets:
            socket.exists = False
        self.dirs_changed()

    def _jump_clock(self) -> None:
        self.epoch += self.faults.random.uniform(-1e6, 1e6)

    def _fill_disk(self) -> None:
        self.disk_is_full = not self.disk_is_full

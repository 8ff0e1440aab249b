"""One life of a simulated worker: its step, and a shell that carries out the effects."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from rbln_worker.contract import messages
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import HealthPolicy, Probation
from rbln_worker.contract.messages import Hello
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core import registration_events as changes
from rbln_worker.core.allocation.cdi import Mode
from rbln_worker.core.health.device_health import device_identity, without_link
from rbln_worker.core.health.evidence import CheckResult
from rbln_worker.core.health.health_record import Timestamp
from rbln_worker.core.health.observation import Bad
from rbln_worker.core.registration import RegistrationStep, Way
from rbln_worker.core.step import effects, events
from rbln_worker.core.step.effects import Effect
from rbln_worker.core.step.events import Event
from rbln_worker.core.step.worker_step import WorkerState, step

if TYPE_CHECKING:
    from tests.simulation.joined_world import JoinedWorld

HEALTH = HealthPolicy(probation=Probation(repeat_s=1.0, max_s=5.0))
POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator", health=HEALTH)
IDS = tuple(DeviceId(f"0000:{number:02x}:00.0") for number in range(1, 5))
REGISTER_TIMEOUT_S = 10.0
SPEC_TIMEOUT_S = 5.0


class Socket:
    """An endpoint of a worker's life."""

    def __init__(self, worker: "SimulatedWorker", number: int, way: Way) -> None:
        self._worker = worker
        self._number = number
        self.by_watcher = way == "plugin-watcher"
        self.name = f"{worker.pid}-{number}.sock"
        self.exists = self.serves = True
        self.streams = 0

    def read_options(self) -> None:
        self._post(changes.OptionsRead(self._worker.pre_start))

    def get_info(self) -> None:
        self._post(changes.Discovered())

    def notify(self, error: str) -> None:
        self._post(changes.Rejected(error, reached=True) if error else changes.Accepted())

    def change_streams(self, change: int) -> None:
        if self.serves:
            self.streams += change
            self._post(changes.Streams(self.streams))

    def read_list(self) -> Mapping[str, bool]:
        return self._worker.listed

    def _post(self, event: changes.EndpointChange) -> None:
        self._worker.post(events.EndpointEvent(self._number, event))


class SimulatedWorker:
    """One life of a worker: its step, and a shell that carries out the effects in the world."""

    def __init__(self, world: "JoinedWorld", hello: Hello) -> None:
        self.pid = hello.pid
        self.incarnation = hello.incarnation
        self.alive = True
        self._held_up: list[Event] | None = None
        """Events since the process hangs; None: it does not."""
        self._is_late = False
        self._world = world
        mode: Mode = "both" if world.uses_cdi else "off"
        heartbeats = world.faults.random.randrange(5)
        self.state = WorkerState(hello, world.way, mode, heartbeats=heartbeats)
        self.listed: Mapping[str, bool] = {}
        self.pre_start = False
        self.endpoints: dict[int, Socket] = {}
        self._newest = 0
        self._checked = False
        self._in_progress: set[DeviceId] = set()
        self._requested: set[DeviceId] = set()
        self._last_results: dict[DeviceId, tuple[Device, CheckResult]] = {}
        self._timer = 0

    @property
    def is_hung(self) -> bool:
        """True while the process hangs."""
        return self._held_up is not None

    def start(self) -> None:
        """Begin with the first heartbeat."""
        self._beat()

    def hang(self) -> None:
        """Do nothing until ``resume``, or until it is killed."""
        if self._held_up is None:
            self._held_up = []

    def resume(self) -> None:
        """Go on after a hang."""
        held_up, self._held_up = self._held_up or [], None
        self._is_late = True  # what it knows is older than the world
        for event in held_up:
            self.post(event)
        self._is_late = False

    def post(self, event: Event) -> None:
        """Step, carry out the effects, and check what must always hold."""
        if not self.alive:
            return
        if self._held_up is not None:
            self._held_up.append(event)
            return
        self._world.steps += 1
        now = self._world.timeline.now
        if isinstance(event, events.CheckCompleted):
            self._checked = True
            for device, result in event.found.items():
                self._last_results[device] = (event.checked[device], result)
        for effect in step(self.state, event, Timestamp(now, now + self._world.epoch)):
            self._perform(effect)
        self._check_invariants()
        self._timer += 1
        if (due := self.state.deadline) is not None:
            self._world.timeline.at(due, partial(self._timer_due, self._timer))

    def kill(self, *, drained: bool) -> None:
        """End this life; only a drain removes the sockets' files."""
        if drained:
            self.post(events.DrainRequested("SIGTERM"))
        self.alive = False
        for socket in self.endpoints.values():
            self._close(socket, remove=drained)
        self._world.end_worker(self)

    def _timer_due(self, number: int) -> None:
        if number == self._timer:
            self.post(events.TimerDue())

    def _beat(self) -> None:
        if self.alive:
            self._world.timeline.after(messages.HEARTBEAT_INTERVAL_S, self._beat)
            if self.is_hung:
                return
            self.post(events.HeartbeatDue())
            if not self._world.owns_pool(self):
                self.kill(drained=True)

    def _later(self, seconds: float, event: Event) -> None:
        self._world.timeline.after(seconds, lambda: self.post(event))

    def _perform(self, effect: Effect) -> None:  # noqa: C901, PLR0912 - a table of effects
        world = self._world
        match effect:
            case effects.SendMessage(message=message):
                world.receive(self, message)
            case effects.StartCheck():
                self._start_check(effect)
            case effects.WriteSpec(text=text):
                assert not world.is_writing(self), "two writes of a spec at once"
                world.write_spec(self, text)
            case effects.SettleFiles(keep_spec=keep):
                if not keep:
                    world.spec_text = ""
                self._later(world.faults.delay(), events.FilesSettled(""))
            case effects.PublishAnswers():
                self._publish(effect)
            case effects.RepeatList():
                for socket in self.endpoints.values():
                    world.kubelet.list_changed(socket)
            case effects.RecordRegistration() | effects.RecordClaims() | effects.End():
                pass
            case effects.CheckDirs():
                if effect.remove_stale:
                    world.remove_stale()
                self.post(changes.DirsChecked(self._view(effect)))
            case effects.OpenEndpoint():
                self._begin_opening(effect)
            case effects.CallRegister(number=number):
                self._register(number)
            case effects.CloseEndpoints(numbers=numbers):
                for number in numbers:
                    self._close(self.endpoints.pop(number), remove=True)

    def _start_check(self, check: effects.StartCheck) -> None:
        world = self._world
        self._requested |= check.devices.keys() & self._in_progress
        # Sorted: the step has sets, whose order differs between runs of Python.
        todo = sorted(check.devices.keys() - self._in_progress)
        parts = [todo[0::2], todo[1::2]] if world.faults.happens(0.3) else [todo]
        for part in parts:
            self._in_progress |= set(part)
            read_after = world.faults.delay()
            world.timeline.after(read_after, partial(self._read_devices, check, part))

    def _read_devices(self, check: effects.StartCheck, part: list[DeviceId]) -> None:
        found = {one: self._world.read_device(one) for one in part}

        def complete() -> None:
            self._in_progress -= set(part)
            repeat = self._requested - self._in_progress
            self._requested -= repeat
            completed = events.CheckCompleted(
                check.devices, check.pool, check.depth, found, frozenset(repeat)
            )
            self.post(completed)

        self._world.timeline.after(self._world.faults.delay(), complete)

    def _publish(self, answers: effects.PublishAnswers) -> None:
        assert self._checked, "a list before the first health check"
        listed = dict(self.listed)
        for device in answers.changed:
            listed.pop(device, None)
            if device in answers.devices and device not in answers.hidden:
                listed[device] = answers.verdicts[device].healthy
        self.pre_start = answers.pre_start
        if self._world.uses_cdi:
            for device in answers.changed & {DeviceId(one) for one in listed if listed[one]}:
                nodes = [node.host for node in answers.answers[device].nodes]
                assert all(f'"{node}"' in self._world.spec_text for node in nodes), (
                    f"{device} is Healthy before the runtime knows {nodes}"
                )
        self.listed = listed
        for socket in self.endpoints.values():
            self._world.kubelet.list_changed(socket)

    def _view(self, check: effects.CheckDirs) -> changes.View:
        kubelet, current = self._world.kubelet, self.endpoints.get(self._newest)
        return changes.View(
            kubelet=None if kubelet.identity is None else (kubelet.identity,),
            sock_folder=True,
            registry_folder=True,
            served=current is not None and current.exists,
            answers=kubelet.answers or not check.answer,
        )

    def _begin_opening(self, effect: effects.OpenEndpoint) -> None:
        assert self._checked, "registers before the first health check"
        if effect.unlinks:
            self.endpoints[effect.unlinks].exists = False
            self._world.dirs_changed()
        self._newest = effect.number
        opened = partial(self._open, effect.number, effect.way)
        self._world.timeline.after(self._world.faults.delay(), opened)

    def _open(self, number: int, way: Way) -> None:
        if not self.alive:
            return
        if self._world.faults.happens(0.03):
            self.post(events.EndpointEvent(number, changes.NotOpened("no room")))
            return
        socket = self.endpoints[number] = Socket(self, number, way)
        self._world.kubelet.sockets.append(socket)
        self.post(events.EndpointEvent(number, changes.Opened(socket.name)))
        self._world.dirs_changed()

    def _register(self, number: int) -> None:
        answered: list[bool] = []

        def answer(error: str, reached: bool) -> None:  # noqa: FBT001
            if not answered:
                answered.append(reached)
                result = changes.Rejected(error, reached=reached) if error else changes.Accepted()
                self._later(0.0, events.EndpointEvent(number, result))

        self._world.kubelet.register(self.endpoints[number], answer)
        late = partial(answer, "no answer within the deadline", True)  # noqa: FBT003
        self._world.timeline.after(REGISTER_TIMEOUT_S, late)

    def _close(self, socket: Socket, *, remove: bool) -> None:
        socket.serves, socket.exists = False, socket.exists and not remove
        self._world.kubelet.socket_closed(socket)
        self._world.dirs_changed()

    def _check_invariants(self) -> None:
        state = self.state
        if self._is_late:
            return
        if state.endpoints.registration.step is RegistrationStep.LISTED:
            current = self.endpoints.get(self._newest)
            assert current is not None, "listed without an endpoint"
            assert current.streams, "listed without a stream"
        if state.results or state.pool.held is None:
            return
        for device, (checked, result) in self._last_results.items():
            desired = state.pool.held.devices.get(device)
            if desired and device_identity(desired) != device_identity(checked):
                assert not self.listed.get(device), f"{device} is Healthy by another's check"
            if desired and without_link(desired) == without_link(checked):
                is_bad = isinstance(result.evidence.observation, Bad)
                assert not (is_bad and self.listed.get(device)), f"{device} is bad, but Healthy"

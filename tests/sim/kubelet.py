"""A simulated kubelet: a real gRPC peer on real unix sockets that keeps what it saw.

What it has in common with a real one is said, and tested with both, in kubelet_contract.py.

It behaves as pkg/kubelet/cm/devicemanager and pkg/kubelet/pluginmanager do where a device plugin
can tell; it has no pods but those that a test tells of (``pods``) or admits (``running``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar

from google.protobuf.message import Message

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.kubelet_admission import Admission, Knobs
from tests.sim.kubelet_book import Book, Keeping
from tests.sim.kubelet_dra import DraPlugins
from tests.sim.kubelet_records import (
    Closed,
    Listed,
    Opened,
    Record,
    Registered,
    Resource,
    in_words,
)
from tests.sim.kubelet_socket import SOCKET, KubeletSocket
from tests.sim.plugin_client import PluginClient
from tests.sim.plugin_watcher import PluginWatcher
from tests.sim.pod_resources import PodResources
from tests.sim.pods import SimPods
from tests.sim.pods_api import PodsApi

CALL_DEADLINE_S: Final = 10.0
"""For the calls that tests make; the kubelet itself waits for Allocate without a limit."""

WATCHER_TURN_S: Final = 1.0
"""From one turn of the plugin watcher to the next (pluginmanager/plugin_manager.go)."""

Reply = TypeVar("Reply", bound=Message)
Kind = TypeVar("Kind", Registered, Opened, Listed, Closed)


class SimKubelet:
    """One node's kubelet. Start and stop it as often as you like; records outlive restarts."""

    def __init__(
        self,
        folder: Path,
        *,
        plugin_watcher: bool = False,
        keeping: Keeping = Keeping.PER_SOCKET,
        turn_s: float = 0.0,
        plugins: Path | None = None,
        pods_api: bool = False,
    ) -> None:
        """A kubelet that is stopped.

        Args:
            folder: what /var/lib/kubelet is to a real one.
            plugin_watcher: it has one.
            keeping: what differs between the supported releases; the default is 1.37's.
            turn_s: from one turn of the plugin watcher to the next; 1 s in a real one.
            plugins: the folder device-plugins, a constant (/var/lib/kubelet/device-plugins)
                whatever the kubelet's --root-dir is; below ``folder`` where it is left out.
            pods_api: it has the Pods API, as from 1.37 on.
        """
        self.folder = folder
        self.plugins = plugins or folder / "device-plugins"
        self.registry = folder / "plugins_registry"
        self.socket = self.plugins / SOCKET
        self.knobs = Knobs()
        self.pods = PodResources(folder)
        """Who has which device; only tests know, whatever was allocated."""
        self.pods_api = PodsApi(folder)
        self.running = SimPods(self)
        """Pods that are admitted and started by what was allocated."""
        self.dra = DraPlugins(health_v1=keeping is Keeping.PER_SOCKET)
        """The DRA drivers that the watcher finds."""
        self._has_pods_api = pods_api
        self._has_watcher = plugin_watcher
        self._turn_s = turn_s
        self._book = Book(keeping)
        self._life: _Life | None = None
        self._born_at = monotonic()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin a life: make the folders, delete every socket in device-plugins, serve."""
        self._book.forget()
        self.plugins.mkdir(parents=True, exist_ok=True)
        self.plugins.chmod(0o750)
        for path in self.plugins.iterdir():
            if path.is_socket():  # also by a link
                path.unlink(missing_ok=True)  # its plugin may have removed it meanwhile
        (self.plugins / "DEPRECATION").touch()
        self.dra.begin()
        admission = Admission(self._book, self.plugins, self.knobs, self.dra)
        watcher = None
        if self._has_watcher:
            self.registry.mkdir(parents=True, exist_ok=True)
            watcher = PluginWatcher(self.registry, admission.found, self._turn_s)
        self.pods.start()
        if self._has_pods_api:
            self.pods_api.start()
        self._life = _Life(admission, watcher, KubeletSocket(self.plugins, admission.register))

    def stop(self) -> None:
        """End this life: every stream is cancelled, kubelet.sock stays behind dead."""
        life, self._life = self._life, None
        if life is None:
            return
        life.socket.close()  # first: who sees its stream end finds nobody there any more
        life.admission.close()
        self.dra.end()
        self.pods.stop()
        self.pods_api.stop(removed=True)
        if life.watcher is not None:
            life.watcher.close()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def recreate_socket(self) -> None:
        """Replace kubelet.sock without any other change; no supported release does by itself."""
        life = self._alive()
        life.socket.close()
        self.socket.unlink()
        life.socket = KubeletSocket(self.plugins, life.admission.register)

    @property
    def keeps_each_socket(self) -> bool:
        """It keeps the registrations of a resource by socket path, as 1.37 does."""
        return self._book.keeping is Keeping.PER_SOCKET

    @property
    def health_service(self) -> str:
        """The service by which it watches the health of DRA devices, as 1.36 or 1.37 does."""
        return self.dra.health_services[0]

    # What it saw

    @property
    def records(self) -> tuple[Record, ...]:
        """All that happened, in order."""
        with self._book.changed:
            return tuple(self._book.records)

    @property
    def registrations(self) -> tuple[Registered, ...]:
        """Every registration, the refused ones too."""
        return self._each(Registered)

    def messages(self, resource: str | None = None) -> tuple[Listed, ...]:
        """Every ListAndWatch message, or those of one resource."""
        return tuple(m for m in self._each(Listed) if resource in {None, m.resource})

    @property
    def openings(self) -> tuple[Opened, ...]:
        """Every ListAndWatch call."""
        return self._each(Opened)

    @property
    def endings(self) -> tuple[Closed, ...]:
        """Every end of a ListAndWatch stream."""
        return self._each(Closed)

    def resource(self, name: str) -> Resource:
        """A resource as the node shows it; an unknown one has no devices."""
        return self._book.resources().get(name, Resource())

    @property
    def resources(self) -> dict[str, Resource]:
        """Every resource that was registered since the last start."""
        return self._book.resources()

    def wait(
        self, condition: Callable[["SimKubelet"], object], deadline_s: float = 30.0, *, what: str
    ) -> None:
        """Wait until ``condition`` holds; AssertionError with all that was seen if it doesn't."""
        if not self.comes(condition, deadline_s):
            raise AssertionError(f"not within {deadline_s} s: {what}\n{self.story()}")

    def comes(self, condition: Callable[["SimKubelet"], object], deadline_s: float) -> bool:
        """Wait; whether ``condition`` held in time."""
        with self._book.changed:
            return self._book.changed.wait_for(lambda: bool(condition(self)), deadline_s)

    def wait_listed(self, name: str, allocatable: int, capacity: int | None = None) -> None:
        """Wait until the node shows so many devices; all of them healthy where only one is said."""
        wanted = (allocatable, allocatable if capacity is None else capacity)
        self.wait(
            lambda _: ((seen := self.resource(name)).allocatable, seen.capacity) == wanted,
            what=f"{wanted[0]} of {wanted[1]} devices of {name}",
        )

    def story(self) -> str:
        """All that it saw, for people."""
        shown = [
            f"  now {name}: {seen.allocatable} of {seen.capacity} at {seen.endpoint}"
            for name, seen in sorted(self.resources.items())
        ]
        records = in_words(self.records, self._born_at)
        return "\n".join(["the kubelet saw:", records or "  nothing", *shown])

    # What it asks

    def allocate(self, name: str, containers: Sequence[Iterable[str]]) -> pb.AllocateResponse:
        """Allocate with one list of device IDs a container."""
        request = pb.AllocateRequest(
            container_requests=[pb.ContainerAllocateRequest(devicesIDs=ids) for ids in containers]
        )
        return self._call(name, "Allocate", request, pb.AllocateResponse)

    def preferred(
        self, name: str, available: Iterable[str], must: Iterable[str], size: int
    ) -> list[str]:
        """GetPreferredAllocation for one container."""
        one = pb.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
        )
        request = pb.PreferredAllocationRequest(container_requests=[one])
        reply = self._call(name, "GetPreferredAllocation", request, pb.PreferredAllocationResponse)
        return [each for response in reply.container_responses for each in response.deviceIDs]

    def options(self, name: str) -> pb.DevicePluginOptions:
        """GetDevicePluginOptions."""
        return self._call(name, "GetDevicePluginOptions", pb.Empty(), pb.DevicePluginOptions)

    def prestart(self, name: str, ids: Iterable[str]) -> pb.PreStartContainerResponse:
        """PreStartContainer."""
        request = pb.PreStartContainerRequest(devicesIDs=ids)
        return self._call(name, "PreStartContainer", request, pb.PreStartContainerResponse)

    def close_stream(self, name: str, endpoint: str | None = None) -> None:
        """End a ListAndWatch stream from the kubelet's side: the newest, or this endpoint's."""
        self._endpoint(name, endpoint).close_stream()

    def pause_reading(self) -> None:
        """Take no further message from any stream, as a kubelet that is stuck on its disk."""
        self._alive().admission.pause()

    def resume_reading(self) -> None:
        """Read again."""
        self._alive().admission.resume()

    def _alive(self) -> "_Life":
        if self._life is None:
            raise RuntimeError("the kubelet is stopped")
        return self._life

    def _each(self, kind: type[Kind]) -> tuple[Kind, ...]:
        return tuple(record for record in self.records if isinstance(record, kind))

    def _endpoint(self, name: str, endpoint: str | None = None) -> PluginClient:
        client = self._book.endpoint(name, endpoint)
        if client is None:
            raise AssertionError(f"no such plugin is connected for {name}\n{self.story()}")
        return client

    def _call(self, name: str, method: str, request: Message, reply: type[Reply]) -> Reply:
        return self._endpoint(name).call(method, request, reply, CALL_DEADLINE_S)


@dataclass
class _Life:
    """What serves between a start and a stop."""

    admission: Admission
    watcher: PluginWatcher | None
    socket: KubeletSocket


def kubelet_1_37(folder: Path) -> SimKubelet:
    """A kubelet as Kubernetes 1.37 has it."""
    return SimKubelet(
        folder,
        plugin_watcher=True,
        keeping=Keeping.PER_SOCKET,
        turn_s=WATCHER_TURN_S,
        pods_api=True,
    )


def kubelet_1_34(folder: Path) -> SimKubelet:
    """A kubelet as Kubernetes 1.34 has it."""
    return SimKubelet(folder, plugin_watcher=True, keeping=Keeping.PER_NAME, turn_s=WATCHER_TURN_S)

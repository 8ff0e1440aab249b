"""A model of the kubelet's side of a device plugin: docs/reference/kubelet-behaviour.md.

One resource; releases 1.34 and 1.37, registration by kubelet.sock and by the plugin watcher.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from tests.simulation.faults import Faults

Release = Literal["1.34", "1.37"]
WATCHER_PERIOD_S = 1.0


class PluginSocket(Protocol):
    """A socket of a plugin, as a kubelet sees it."""

    by_watcher: bool
    exists: bool
    """True if its file exists."""
    serves: bool
    """True if a process listens on it."""

    def read_options(self) -> None:
        """Call GetDevicePluginOptions."""

    def get_info(self) -> None:
        """Call GetInfo."""

    def notify(self, error: str) -> None:
        """Call NotifyRegistrationStatus."""

    def change_streams(self, change: int) -> None:
        """Open or end a ListAndWatch stream."""

    def read_list(self) -> Mapping[str, bool]:
        """Return the list that a stream would yield now: device IDs, True for Healthy."""


class ModelKubelet:
    """A kubelet that starts, dies, pauses, and refuses."""

    def __init__(self, faults: Faults, release: Release) -> None:
        self._faults = faults
        self.release = release
        self.identity: int | None = None
        """Identity of kubelet.sock; None: there is no file."""
        self.running = False
        self.devices: Mapping[str, bool] = {}
        """The kubelet's view of the resource: device IDs, True for Healthy."""
        self.sockets: list[PluginSocket] = []
        """All sockets in its folders."""
        self.on_dirs_changed: Callable[[], None] = lambda: None
        self.clients: list[PluginSocket] = []
        """Sockets with a stream of this kubelet, the newest last."""
        self.callee: PluginSocket | None = None
        """The socket that gets Allocate."""
        self.gaps = 0
        """Number of times that it lost the resource, because the last stream had ended."""
        self._known: list[PluginSocket] = []
        """Sockets in plugins_registry at the last pass of the watcher."""
        self._starts = 0
        self._paused: list[Callable[[], None]] | None = None

    @property
    def answers(self) -> bool:
        """True if a process listens on kubelet.sock."""
        return self.running

    def start(self) -> None:
        """Start: remove all sockets in device-plugins, and create kubelet.sock."""
        if self.running:
            return
        self._starts += 1
        self.running, self.identity, self._paused = True, self._starts, None
        self.devices, self.clients, self._known, self.callee = {}, [], [], None
        for socket in self.sockets:
            socket.exists = socket.exists and socket.by_watcher
        self.on_dirs_changed()
        self._do(WATCHER_PERIOD_S, self._watch_sockets)

    def kill(self) -> None:
        """Die: all streams end; kubelet.sock stays."""
        if self.running:
            self.running, self.callee = False, None
            clients, self.clients = self.clients, []
            for socket in clients:
                socket.change_streams(-1)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while."""
        if self.running and self._paused is None:
            self._paused = []
            self._faults.timeline.after(seconds, self._resume)

    def register(self, socket: PluginSocket, answer: Callable[[str, bool], None]) -> None:
        """Call Register; ``answer`` takes the error and True if the kubelet was reached."""
        if not self.running:
            answer("connection refused", False)  # noqa: FBT003
        elif self._faults.happens(0.05):
            answer("the call broke off", True)  # noqa: FBT003
            self._do(self._faults.delay(), lambda: self._connect(socket, lambda _: None))
        else:
            reply = self._connect_and_reply(socket, answer)
            self._do(self._faults.delay(), reply)

    def drop_stream(self) -> None:
        """End the stream of the socket that gets calls."""
        if (socket := self.callee) in self.clients and socket is not None:
            self.clients.remove(socket)
            self._stream_ended(socket)
            socket.change_streams(-1)

    def connect_late(self, socket: PluginSocket) -> None:
        """Connect to a socket: a registration goes on whose call had broken off."""
        self._connect(socket, lambda _: None)

    def socket_closed(self, socket: PluginSocket) -> None:
        """See the end of a stream by the plugin."""
        if socket in self.clients:
            self.clients.remove(socket)
            self._stream_ended(socket)

    def list_changed(self, socket: PluginSocket) -> None:
        """Receive the newest list of a stream a moment later."""
        if socket in self.clients:
            self._do(self._faults.delay(), lambda: self._receive_list(socket))

    def _connect_and_reply(
        self, socket: PluginSocket, answer: Callable[[str, bool], None]
    ) -> Callable[[], None]:
        def reply(error: str) -> None:
            answer(error, True)  # noqa: FBT003

        return lambda: self._connect(socket, reply)

    def _connect(self, socket: PluginSocket, reply: Callable[[str], None]) -> None:
        if not (socket.exists and socket.serves) or self._faults.happens(0.05):
            reply("failed to dial device plugin")
            return
        if socket in self.clients and self.release == "1.37":
            reply("device plugin already connected")
            return
        socket.read_options()
        self.callee = socket
        reply("")
        self._do(self._faults.delay(0.003), lambda: self._open_stream(socket))

    def _open_stream(self, socket: PluginSocket) -> None:
        if socket.serves and socket not in self.clients:
            self.clients.append(socket)
            socket.change_streams(1)
            self._do(self._faults.delay(0.003), lambda: self._receive_list(socket))

    def _receive_list(self, socket: PluginSocket) -> None:
        if socket in self.clients:
            self.devices = dict(socket.read_list())

    def _stream_ended(self, ended: PluginSocket) -> None:
        newest = self.callee
        if self.release == "1.37":
            if ended is newest:
                self.callee = self.clients[-1] if self.clients else None
            if self.clients:
                return
        self.callee = None
        self.gaps += 1
        self.devices = dict.fromkeys(self.devices, False)
        if newest is not None and newest in self.clients:  # disconnected by the end of another one
            self.clients.remove(newest)
            newest.change_streams(-1)

    def _watch_sockets(self) -> None:
        """Process changes of plugins_registry: first the sockets that left, then new ones."""
        present = [one for one in self.sockets if one.by_watcher and one.exists]
        for gone in [one for one in self._known if one not in present]:
            ends = gone if self.release == "1.37" else self.callee or gone
            if ends in self.clients:
                self.clients.remove(ends)
                ends.change_streams(-1)
                self._stream_ended(ends)
        for socket in [one for one in present if one not in self._known]:
            if socket.serves:
                socket.get_info()
                self._connect(socket, socket.notify)
        self._known = [one for one in present if one in self.clients or one.serves]
        self._do(WATCHER_PERIOD_S, self._watch_sockets)

    def _do(self, seconds: float, action: Callable[[], None]) -> None:
        """Run an action of this kubelet's life after a while, and after a pause."""
        life = self._starts

        def run() -> None:
            if not self.running or life != self._starts:
                return
            if self._paused is None:
                action()
            else:
                self._paused.append(run)

        self._faults.timeline.after(seconds, run)

    def _resume(self) -> None:
        waiting, self._paused = self._paused or [], None
        for action in waiting:
            action()

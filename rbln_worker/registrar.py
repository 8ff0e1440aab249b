"""Endpoints of the pool: carries out what the step decides of the registration."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rbln_worker.contract.pool import PoolName, file_stem
from rbln_worker.core import registration_events as changes
from rbln_worker.core.registration import Way
from rbln_worker.core.registration_events import DirsChecked, View
from rbln_worker.core.step import effects
from rbln_worker.core.step.effects import EndpointEffect
from rbln_worker.core.step.events import EndpointEvent, KubeletEvent
from rbln_worker.host import sockets
from rbln_worker.kubelet.endpoint import Endpoint, EndpointError, max_grpc_threads
from rbln_worker.kubelet.front import Front
from rbln_worker.kubelet.plugin import plugin_options
from rbln_worker.kubelet.register import RegistrationError, register_endpoint
from rbln_worker.process import limits
from rbln_worker.process.file_identity import file_identity
from rbln_worker.spec import KubeletDirs

log = logging.getLogger(__name__)


class Registrar:
    """The pool's endpoints, by number, and the kubelet's folders."""

    def __init__(
        self,
        kubelet_dirs: KubeletDirs,
        pool: PoolName,
        front: Front,
        *,
        post: Callable[[KubeletEvent], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """Serve ``front``; ``post`` takes events, ``spawn`` starts a task."""
        self._dirs = kubelet_dirs
        self.watched_folders = (kubelet_dirs.device_plugins, kubelet_dirs.plugins_registry)
        """The folders with changes that lead to ``CheckDirs``."""
        self._pool = pool
        self._stem = file_stem(pool)
        self._front = front
        self._post = post
        self._spawn = spawn
        self._endpoints: dict[int, Endpoint] = {}
        """Open endpoints; the newest is the last."""
        self._newest = 0
        """The number of the newest endpoint, which may not be open yet."""
        self._closed = False

    def perform(self, effect: EndpointEffect) -> None:
        """Carry out an effect."""
        match effect:
            case effects.CheckDirs():
                if effect.remove_stale:
                    self._remove_stale()
                self._post(DirsChecked(self._view_dirs(effect)))
            case effects.OpenEndpoint():
                if effect.unlinks:
                    self._endpoints[effect.unlinks].unlink_file()
                self._begin_opening(effect.number, effect.way)
            case effects.CallRegister(number=number):
                self._spawn(self._call_register(number))
            case effects.CloseEndpoints(numbers=numbers):
                for number in numbers:
                    self._spawn(self._endpoints.pop(number).close())

    async def close(self, within_s: float) -> None:
        """End all streams and remove all sockets; nothing is opened after that."""
        self._closed = True
        closing = [asyncio.create_task(endpoint.close()) for endpoint in self._endpoints.values()]
        if closing:
            await asyncio.wait(closing, timeout=within_s)

    def _view_dirs(self, check: effects.CheckDirs) -> View:
        kubelet = self._dirs.device_plugins / "kubelet.sock"
        current = self._endpoints.get(self._newest)
        return View(
            kubelet=file_identity(kubelet),
            sock_folder=self._dirs.device_plugins.is_dir(),
            registry_folder=self._dirs.plugins_registry.is_dir(),
            served=current is not None and current.file_exists(),
            younger=sockets.newer_instance(current.path, self._stem)
            if check.newer and current
            else "",
            answers=not (check.answer and sockets.is_dead(kubelet)),
        )

    def _begin_opening(self, number: int, way: Way) -> None:
        if not self._newest and not limits.can_start_threads(max_grpc_threads()):
            raise MemoryError("for threads of gRPC, which waits for ever without them")
        self._newest = number
        self._spawn(self._open_endpoint(number, self._dirs.by_registration[way]))

    async def _open_endpoint(self, number: int, folder: Path) -> None:
        services = self._front.open_services(lambda event: self._post(EndpointEvent(number, event)))
        try:
            path = folder / sockets.unique_socket_name(folder, self._stem)
            endpoint = await Endpoint.open(path, services)
        except (sockets.SocketPathError, EndpointError) as error:
            self._post(EndpointEvent(number, changes.NotOpened(str(error))))
            return
        if self._closed:  # at once: this task is cancelled at its next wait
            endpoint.unlink_file()
            await endpoint.close()
            return
        self._endpoints[number] = endpoint
        log.info("serving", extra={"endpoint": endpoint.path.name})
        self._post(EndpointEvent(number, changes.Opened(endpoint.path.name)))

    async def _call_register(self, number: int) -> None:
        endpoint = self._endpoints.get(number)
        if endpoint is None:
            return
        try:
            await register_endpoint(
                self._dirs.device_plugins / "kubelet.sock",
                endpoint=endpoint.path.name,
                pool=self._pool,
                options=plugin_options(pre_start=self._front.pre_start),
            )
        except RegistrationError as error:
            result = changes.Rejected(error.why, reached=error.reached)
            self._post(EndpointEvent(number, result))
        else:
            self._post(EndpointEvent(number, changes.Accepted()))

    def _remove_stale(self) -> None:
        now = datetime.now(UTC).timestamp()
        for folder in self.watched_folders:
            for path in sockets.remove_stale_sockets(folder, self._stem, now):
                log.info("removed a stale socket", extra={"path": str(path)})

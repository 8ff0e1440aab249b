"""The calls of the kubelet, answered from what was prepared: no call reads a file."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, TypeVar, TypeVarTuple

import grpc
import grpc.aio

from rbln_worker.core.prefer.choose import Refused
from rbln_worker.core.tally import Tally
from rbln_worker.kubelet import allocation
from rbln_worker.kubelet.allocation import Refusal
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as registration
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.preferences import Preferences
from rbln_worker.kubelet.prepared import Prepared
from rbln_worker.kubelet.service import handlers

API_VERSION: Final = "v1beta1"

LOGGED_MOST: Final = 64
"""Devices of a container that a log line names."""

Context = grpc.aio.ServicerContext[Any, Any]
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Arguments = TypeVarTuple("Arguments")

log = logging.getLogger(__name__)


class DevicePlugin:
    """The services behind one endpoint."""

    def __init__(
        self,
        prepared: Callable[[], Prepared],
        board: Board,
        preferences: Preferences,
        tally: Tally,
        *,
        on_asked: Callable[[], None],
        on_streams: Callable[[int, int], None],
        on_notified: Callable[[bool, str], None],
    ) -> None:
        """Answer from ``prepared``, ``board`` and ``preferences``, and count that in ``tally``.

        ``on_asked`` is called when the plugin watcher has found the socket; ``on_streams`` hears
        how many ListAndWatch streams were open and are now, ``on_notified`` what the plugin watcher
        says of a registration (taken or not, and why not).
        """
        self._prepared = prepared
        self._offered: bool | None = None
        self._board = board
        self._preferences = preferences
        self._tally = tally
        self._on_asked = on_asked
        self._on_streams = on_streams
        self._on_notified = on_notified
        self.streams = 0
        """ListAndWatch streams that are open."""

    @property
    def lacks_pre_start(self) -> bool:
        """The kubelet was told that PreStartContainer is not required, and it is."""
        return self._offered is False and self._prepared().pre_start

    def services(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The handlers for a server."""
        return (
            handlers(
                pb.DESCRIPTOR.services_by_name["DevicePlugin"],
                {
                    "GetDevicePluginOptions": self.options,
                    "ListAndWatch": self.list_and_watch,
                    "GetPreferredAllocation": self._counted(
                        "GetPreferredAllocation", self.preferred
                    ),
                    "Allocate": self._counted("Allocate", self.allocate),
                    "PreStartContainer": self.pre_start,
                },
            ),
            handlers(
                registration.DESCRIPTOR.services_by_name["Registration"],
                {"GetInfo": self.info, "NotifyRegistrationStatus": self.notified},
            ),
        )

    async def options(self, _request: pb.Empty, _context: Context) -> pb.DevicePluginOptions:
        """A preferred allocation for every pool; PreStartContainer only where it is required."""
        self._offered = self._prepared().pre_start
        return options(pre_start=self._offered)

    async def list_and_watch(self, _request: pb.Empty, _context: Context) -> AsyncIterator[bytes]:
        """The devices, again whenever something of them changed."""
        self.streams += 1
        self._tally.streams += 1
        self._tally.opened += 1
        self._on_streams(self.streams - 1, self.streams)
        try:
            async for message in self._board.watch():
                self._tally.messages += 1
                yield message
        finally:
            self.streams -= 1
            self._tally.streams -= 1
            self._on_streams(self.streams + 1, self.streams)

    async def preferred(self, request: pb.PreferredAllocationRequest, context: Context) -> bytes:
        """What goes best together, for each container; nothing where the kubelet may choose.

        UNKNOWN, as the reference says it, where the devices would be spread over NUMA nodes and the
        pool forbids it: the kubelet then fails the pod. Nothing else is an error.
        """
        answer = await self._preferences.answer(self._prepared().layout, request)
        if isinstance(answer, Refused):
            log.warning("no preference possible", extra={"why": answer.why})
            await context.abort(grpc.StatusCode.UNKNOWN, answer.why)
        return answer

    async def allocate(self, request: pb.AllocateRequest, context: Context) -> bytes:
        """What each container gets, or a status that says why not, and nothing done.

        The kubelet keeps the answer and gives it to the container again after a restart.
        """
        answer = allocation.answer(self._prepared(), request)
        if isinstance(answer, Refusal):
            log.warning("allocation refused", extra={"why": answer.why})
            await context.abort(answer.code, answer.why)
        _after_answer(self._record_allocation, request)
        return answer

    def _record_allocation(self, request: pb.AllocateRequest) -> None:
        """Log and count what was allocated."""
        for container in request.container_requests:
            log.info("allocated", extra={"devices": _some(container.devicesIDs)})
        self._tally.allocated += sum(len(one.devicesIDs) for one in request.container_requests)

    async def pre_start(
        self, request: pb.PreStartContainerRequest, context: Context
    ) -> pb.PreStartContainerResponse:
        """A container may start with what it was given, or FAILED_PRECONDITION says why not.

        The kubelet says which devices, and not which pod's: who holds them is known.
        """
        prepared = self._prepared()
        for device in request.devicesIDs:
            if why := prepared.restart_refusals.get(device):
                text = f"device {device} of {prepared.pool} can't be used: {why}"
                log.warning("start of a container refused", extra={"device": device, "why": why})
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        return pb.PreStartContainerResponse()

    async def info(
        self, _request: registration.InfoRequest, _context: Context
    ) -> registration.PluginInfo:
        """Describe this socket to the plugin watcher.

        The endpoint stays empty: the kubelet then dials the socket where it found it
        (pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go), a path that this
        process may know under another name.
        """
        self._on_asked()
        return registration.PluginInfo(
            type="DevicePlugin",
            name=self._prepared().pool,
            supported_versions=["v1alpha1", API_VERSION],
        )

    async def notified(
        self, request: registration.RegistrationStatus, _context: Context
    ) -> registration.RegistrationStatusResponse:
        """The plugin watcher's verdict on our registration."""
        self._on_notified(request.plugin_registered, request.error)
        return registration.RegistrationStatusResponse()

    def _counted(
        self, method: str, answer: Callable[[Asked, Context], Awaitable[Answered]]
    ) -> Callable[[Asked, Context], Awaitable[Answered]]:
        async def counted(request: Asked, context: Context) -> Answered:
            began = perf_counter()
            try:
                answered = await answer(request, context)
            except BaseException as error:
                self._tally.call(method, _code(context, error), perf_counter() - began)
                raise
            _after_answer(self._tally.call, method, "OK", perf_counter() - began)
            return answered

        return counted


def _after_answer(function: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
    """Call ``function`` once the answer is on its way to the kubelet.

    gRPC starts to send as soon as the handler returns, without another turn of the event loop
    (grpc/_cython/_cygrpc/aio/server.pyx.pxi, _finish_handler_with_unary_response).
    """
    asyncio.get_running_loop().call_soon(function, *arguments)


def _some(ids: Sequence[str]) -> str:
    """What a log line holds of them."""
    named = ",".join(sorted(ids)[:LOGGED_MOST])
    return named if len(ids) <= LOGGED_MOST else f"{named} and {len(ids) - LOGGED_MOST} more"


def _code(context: Context, error: BaseException) -> str:
    """The status code that a call ends with; gRPC says UNKNOWN for an error that nobody handled."""
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    code: object = context.code()  # a number, whatever its type says; 0 where nobody set one
    failures = (one for one in grpc.StatusCode if one is not grpc.StatusCode.OK)
    return next((one.name for one in failures if code in {one, one.value[0]}), "UNKNOWN")


def options(*, pre_start: bool) -> pb.DevicePluginOptions:
    """What a kubelet may ask this plugin for."""
    return pb.DevicePluginOptions(
        pre_start_required=pre_start, get_preferred_allocation_available=True
    )

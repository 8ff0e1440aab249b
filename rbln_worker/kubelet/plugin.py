"""The kubelet's calls, answered from prepared data: no call reads a file."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, TypeVar, TypeVarTuple

import grpc
import grpc.aio

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.core import registration_events as changes
from rbln_worker.core.preferred.choose import PreferenceRefused
from rbln_worker.kubelet import allocation
from rbln_worker.kubelet.allocation import Refusal
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pluginregistration_pb2 as registration
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.preferences import Preferences
from rbln_worker.kubelet.service import method_handlers

API_VERSION: Final = "v1beta1"

MAX_LOGGED_IDS: Final = 64
"""Maximum number of a container's devices in a log line."""

Context = grpc.aio.ServicerContext[Any, Any]
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Arguments = TypeVarTuple("Arguments")

log = logging.getLogger(__name__)


class DevicePlugin:
    """The gRPC services of one endpoint."""

    def __init__(
        self,
        board: Board,
        preferences: Preferences,
        tally: WorkerCounters,
        on_event: Callable[[changes.EndpointChange], None],
    ) -> None:
        """Answer from ``board`` and ``preferences``, and count in ``tally``.

        ``on_event`` takes what the kubelet does.
        """
        self._board = board
        self._preferences = preferences
        self._counters = tally
        self._on_event = on_event
        self._streams = 0
        """The number of open ListAndWatch streams."""

    def service_handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers for a server."""
        return (
            method_handlers(
                pb.DESCRIPTOR.services_by_name["DevicePlugin"],
                {
                    "GetDevicePluginOptions": self.get_device_plugin_options,
                    "ListAndWatch": self.list_and_watch,
                    "GetPreferredAllocation": self._count_calls(
                        "GetPreferredAllocation", self.get_preferred_allocation
                    ),
                    "Allocate": self._count_calls("Allocate", self.allocate),
                    "PreStartContainer": self.pre_start_container,
                },
            ),
            method_handlers(
                registration.DESCRIPTOR.services_by_name["Registration"],
                {
                    "GetInfo": self.get_info,
                    "NotifyRegistrationStatus": self.notify_registration_status,
                },
            ),
        )

    async def get_device_plugin_options(
        self, _request: pb.Empty, _context: Context
    ) -> pb.DevicePluginOptions:
        """Return the options: PreStartContainer only if it is required."""
        pre_start = self._board.prepared.pre_start
        self._on_event(changes.OptionsRead(pre_start))
        return plugin_options(pre_start=pre_start)

    async def list_and_watch(self, _request: pb.Empty, _context: Context) -> AsyncIterator[bytes]:
        """Yield the list of devices after each change."""
        self._counters.opened += 1
        self._count_stream(1)
        try:
            async for message in self._board.watch_list():
                self._counters.messages += 1
                yield message
        finally:
            self._count_stream(-1)

    def _count_stream(self, change: int) -> None:
        self._streams += change
        self._counters.streams += change
        self._on_event(changes.Streams(self._streams))

    async def get_preferred_allocation(
        self, request: pb.PreferredAllocationRequest, context: Context
    ) -> bytes:
        """Return the preferred devices for each container; none if the kubelet may choose.

        Abort with UNKNOWN, as the reference does, if the devices would span NUMA nodes and the pool
        forbids it: the kubelet then fails the pod. Nothing else is an error.
        """
        answer = await self._preferences.preferred_response(self._board.prepared.layout, request)
        if isinstance(answer, PreferenceRefused):
            log.warning("no preferred allocation possible", extra={"why": answer.why})
            await context.abort(grpc.StatusCode.UNKNOWN, answer.why)
        return answer

    async def allocate(self, request: pb.AllocateRequest, context: Context) -> bytes:
        """Return the allocation of each container; if it is refused, abort without any effect.

        The kubelet keeps the answer and gives it to the container again after a restart.
        """
        answer = allocation.build_response(self._board.prepared, request)
        if isinstance(answer, Refusal):
            log.warning("allocation refused", extra={"why": answer.why})
            await context.abort(answer.code, answer.why)
        _after_answer(self._record_allocation, request)
        return answer

    def _record_allocation(self, request: pb.AllocateRequest) -> None:
        """Log and count an allocation."""
        for container in request.container_requests:
            log.info("allocated", extra={"devices": _format_ids(container.devicesIDs)})
        self._counters.allocated += sum(len(one.devicesIDs) for one in request.container_requests)

    async def pre_start_container(
        self, request: pb.PreStartContainerRequest, context: Context
    ) -> pb.PreStartContainerResponse:
        """Let a container start with what it was given, or abort with FAILED_PRECONDITION.

        The request names devices and not the pod; the pods that hold them are known.
        """
        prepared = self._board.prepared
        for device in request.devicesIDs:
            if why := prepared.restart_refusals.get(device):
                text = f"device {device} of {prepared.pool} can't be used: {why}"
                log.warning("start of a container refused", extra={"device": device, "why": why})
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        return pb.PreStartContainerResponse()

    async def get_info(
        self, _request: registration.InfoRequest, _context: Context
    ) -> registration.PluginInfo:
        """Describe this socket to the plugin watcher.

        The endpoint stays empty: the kubelet then connects to the socket where it found it
        (pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go), a path that may be
        another one in this process.
        """
        self._on_event(changes.Discovered())
        return registration.PluginInfo(
            type="DevicePlugin",
            name=self._board.prepared.pool,
            supported_versions=["v1alpha1", API_VERSION],
        )

    async def notify_registration_status(
        self, request: registration.RegistrationStatus, _context: Context
    ) -> registration.RegistrationStatusResponse:
        """Receive the plugin watcher's result of the registration."""
        refusal = f"the kubelet's plugin watcher refused it: {request.error[:300]}"
        accepted = request.plugin_registered
        self._on_event(changes.Accepted() if accepted else changes.Rejected(refusal, reached=True))
        return registration.RegistrationStatusResponse()

    def _count_calls(
        self, method: str, answer: Callable[[Asked, Context], Awaitable[Answered]]
    ) -> Callable[[Asked, Context], Awaitable[Answered]]:
        async def counted(request: Asked, context: Context) -> Answered:
            began = perf_counter()
            try:
                answered = await answer(request, context)
            except BaseException as error:
                self._counters.count_call(method, _code_of(context, error), perf_counter() - began)
                raise
            _after_answer(self._counters.count_call, method, "OK", perf_counter() - began)
            return answered

        return counted


def _after_answer(function: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
    """Call ``function`` after the answer was passed to gRPC.

    gRPC starts to send as soon as the handler returns, without another iteration of the event loop
    (grpc/_cython/_cygrpc/aio/server.pyx.pxi, _finish_handler_with_unary_response).
    """
    asyncio.get_running_loop().call_soon(function, *arguments)


def _format_ids(ids: Sequence[str]) -> str:
    """Return the device IDs for a log line."""
    named = ",".join(sorted(ids)[:MAX_LOGGED_IDS])
    return named if len(ids) <= MAX_LOGGED_IDS else f"{named} and {len(ids) - MAX_LOGGED_IDS} more"


def _code_of(context: Context, error: BaseException) -> str:
    """Return the status code of a failed call; gRPC sends UNKNOWN for an unhandled error."""
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    code: object = context.code()  # a number, despite its type; 0 if none was set
    failures = (one for one in grpc.StatusCode if one is not grpc.StatusCode.OK)
    return next((one.name for one in failures if code in {one, one.value[0]}), "UNKNOWN")


def plugin_options(*, pre_start: bool) -> pb.DevicePluginOptions:
    """Return the options of this plugin."""
    return pb.DevicePluginOptions(
        pre_start_required=pre_start, get_preferred_allocation_available=True
    )

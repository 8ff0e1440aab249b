"""The kubelet's calls to a DRA driver: all of its services on one socket.

The socket has a unique name for each endpoint, so the kubelet never sees two registrations of one
path, and what it removes belongs to one of them (docs/adr/0038).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from rbln_worker.contract.counters import CLAIM_METHODS, WorkerCounters
from rbln_worker.core import registration_events as changes
from rbln_worker.core.dra.claims import ClaimReference, ClaimRefusal
from rbln_worker.dra.api import dra_health_pb2 as health_pb
from rbln_worker.dra.api import dra_pb2 as pb
from rbln_worker.dra.claim_store import ClaimStore, PreparedDevices
from rbln_worker.dra.health_stream import HealthStream
from rbln_worker.kubelet.api import pluginregistration_pb2 as registration
from rbln_worker.kubelet.service import method_handlers

SERVICES: Final = (
    "v1.DRAPlugin",
    "v1beta1.DRAPlugin",
    "v1.DRAResourceHealth",
    "v1alpha1.DRAResourceHealth",
)
"""The kubelet takes the first that it knows of each service."""

Context = grpc.aio.ServicerContext[Any, Any]
Outcome = TypeVar("Outcome")

log = logging.getLogger(__name__)


class DriverPlugin:
    """The gRPC services of one endpoint."""

    def __init__(
        self,
        driver: str,
        node: str,
        store: ClaimStore,
        health: HealthStream,
        counters: WorkerCounters,
        *,
        on_event: Callable[[changes.EndpointChange], None],
        on_refusal: Callable[[str, str, str], None],
    ) -> None:
        """``on_event`` takes what the kubelet does, ``on_refusal`` UID, name and reason."""
        self._counters = counters
        self._driver = driver
        self._node = node
        self._store = store
        self._health = health
        self._on_event = on_event
        self._on_refusal = on_refusal

    def service_handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers for a server."""
        plugin: dict[str, Callable[..., Any]] = {
            "NodePrepareResources": self.prepare_resources,
            "NodeUnprepareResources": self.unprepare_resources,
        }
        health = {"NodeWatchResources": self.watch_resources}
        dra_service = pb.DESCRIPTOR.services_by_name["DRAPlugin"]
        health_service = health_pb.DESCRIPTOR.services_by_name["DRAResourceHealth"]
        return (
            method_handlers(dra_service, plugin),
            method_handlers(
                dra_service, plugin, dra_service.full_name.replace(".v1.", ".v1beta1.")
            ),
            method_handlers(health_service, health),
            method_handlers(health_service, health, "v1alpha1.DRAResourceHealth"),
            method_handlers(
                registration.DESCRIPTOR.services_by_name["Registration"],
                {
                    "GetInfo": self.get_info,
                    "NotifyRegistrationStatus": self.notify_registration_status,
                },
            ),
        )

    async def prepare_resources(
        self, request: pb.NodePrepareResourcesRequest, _context: Context
    ) -> pb.NodePrepareResourcesResponse:
        """Prepare claims; each UID has an entry in the answer."""
        claims = [ClaimReference(one.uid, one.namespace, one.name) for one in request.claims]
        method, prepare = CLAIM_METHODS[0], self._store.prepare_claim
        results = await asyncio.gather(*(self._count(method, prepare(one)) for one in claims))
        return pb.NodePrepareResourcesResponse(
            claims={
                claim.uid: self._prepare_response(claim, result)
                for claim, result in zip(claims, results, strict=True)
            }
        )

    async def unprepare_resources(
        self, request: pb.NodeUnprepareResourcesRequest, _context: Context
    ) -> pb.NodeUnprepareResourcesResponse:
        """Unprepare claims; each UID has an entry in the answer."""
        claims = [ClaimReference(one.uid, one.namespace, one.name) for one in request.claims]
        method, unprepare = CLAIM_METHODS[1], self._store.unprepare_claim
        results = await asyncio.gather(*(self._count(method, unprepare(one)) for one in claims))
        response = pb.NodeUnprepareResourcesResponse()
        for claim, refusal in zip(claims, results, strict=True):
            error = refusal.why if refusal else ""
            response.claims[claim.uid].error = error
            level = logging.WARNING if error else logging.INFO
            log.log(level, "claim unprepared", extra={"claim": claim.text, "why": error})
        return response

    async def watch_resources(
        self, _request: health_pb.NodeWatchResourcesRequest, _context: Context
    ) -> AsyncIterator[bytes]:
        """Yield the health of all devices."""
        async for message in self._health.watch_health():
            yield message

    async def get_info(
        self, _request: registration.InfoRequest, _context: Context
    ) -> registration.PluginInfo:
        """Describe this socket to the plugin watcher.

        The endpoint stays empty: the kubelet then calls the socket where it found it, by a path
        that may be another one in this process (pluginmanager/operationexecutor).
        """
        self._on_event(changes.Discovered())
        return registration.PluginInfo(
            type="DRAPlugin", name=self._driver, supported_versions=SERVICES
        )

    async def notify_registration_status(
        self, request: registration.RegistrationStatus, _context: Context
    ) -> registration.RegistrationStatusResponse:
        """Receive the plugin watcher's result: a registered driver is listed at once.

        There is no ListAndWatch, and only some kubelets open a health stream.
        """
        self._on_event(changes.Streams(int(request.plugin_registered)))
        if not request.plugin_registered:
            refusal = f"the kubelet's plugin watcher refused it: {request.error[:300]}"
            self._on_event(changes.Rejected(refusal, reached=True))
        return registration.RegistrationStatusResponse()

    async def _count(self, method: str, work: Awaitable[Outcome]) -> Outcome:
        """Count the result for one claim, and its duration."""
        began = perf_counter()
        result = await work
        code = result.cause if isinstance(result, ClaimRefusal) else "OK"
        self._counters.count_call(method, code, perf_counter() - began)
        return result

    def _prepare_response(
        self, claim: ClaimReference, result: PreparedDevices | ClaimRefusal
    ) -> pb.NodePrepareResourceResponse:
        if isinstance(result, ClaimRefusal):
            log.warning("claim refused", extra={"claim": claim.text, "why": result.why})
            self._on_refusal(claim.uid, claim.text, result.why)
            return pb.NodePrepareResourceResponse(error=result.why)
        log.info(
            "claim prepared",
            extra={"claim": claim.text, "devices": ",".join(one.name for one in result.devices)},
        )
        return pb.NodePrepareResourceResponse(
            devices=[
                pb.Device(
                    request_names=one.requests,
                    pool_name=self._node,
                    device_name=one.name,
                    cdi_device_ids=one.cdi_ids,
                )
                for one in result.devices
            ]
        )

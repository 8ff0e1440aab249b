"""The kubelet's calls to a DRA driver: all of its services on one socket.

The socket has a unique name for each endpoint, so the kubelet never sees two registrations of one
path, and what it removes belongs to one of them (docs/adr/0038).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from rbln_worker.contract.counters import CLAIM_METHODS, WorkerCounters
from rbln_worker.core import registration_events as changes
from rbln_worker.core.dra.claim_entry import ClaimReference
from rbln_worker.core.dra.claim_spec import PreparedDevice
from rbln_worker.core.dra.claims import ClaimError
from rbln_worker.dra.api import dra_health_pb2 as health_pb
from rbln_worker.dra.api import dra_pb2 as pb
from rbln_worker.dra.claim_store import ClaimStore
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
Result = TypeVar("Result")

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
        response = pb.NodePrepareResourcesResponse()
        results = await self._call_each(request.claims, CLAIM_METHODS[0], self._store.prepare_claim)
        for claim, result in results:
            if isinstance(result, ClaimError):
                log.warning("claim refused", extra={"claim": claim.text, "why": result})
                self._on_refusal(claim.uid, claim.text, str(result))
                response.claims[claim.uid].error = str(result)
            else:
                names = ",".join(one.name for one in result)
                log.info("claim prepared", extra={"claim": claim.text, "devices": names})
                response.claims[claim.uid].devices.extend(map(self._device_message, result))
        return response

    async def unprepare_resources(
        self, request: pb.NodeUnprepareResourcesRequest, _context: Context
    ) -> pb.NodeUnprepareResourcesResponse:
        """Unprepare claims; each UID has an entry in the answer."""
        response = pb.NodeUnprepareResourcesResponse()
        results = await self._call_each(
            request.claims, CLAIM_METHODS[1], self._store.unprepare_claim
        )
        for claim, result in results:
            error = str(result or "")
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

    async def _call_each(
        self,
        claims: Iterable[pb.Claim],
        method: str,
        call: Callable[[ClaimReference], Awaitable[Result | ClaimError]],
    ) -> list[tuple[ClaimReference, Result | ClaimError]]:
        """Call the store for all claims at once; return each result, or the reason of a refusal."""

        async def call_one(
            claim: ClaimReference,
        ) -> tuple[ClaimReference, Result | ClaimError]:
            began = perf_counter()
            result = await call(claim)
            code = result.cause if isinstance(result, ClaimError) else "OK"
            self._counters.count_call(method, code, perf_counter() - began)
            return claim, result

        references = (ClaimReference(one.uid, one.namespace, one.name) for one in claims)
        return await asyncio.gather(*map(call_one, references))

    def _device_message(self, device: PreparedDevice) -> pb.Device:
        return pb.Device(
            request_names=device.requests,
            pool_name=self._node,
            device_name=device.name,
            cdi_device_ids=device.cdi_ids,
        )

"""Health of the pool's devices for the kubelet, which shows it in the status of their pods."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.core.aligned_timer import next_moment
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.limit_bytes import limit_bytes
from rbln_worker.dra.api import dra_health_pb2 as pb

RESEND_INTERVAL_S: Final = 10.0
"""A state that is older than 30 s is Unknown to the kubelet (cm/dra/healthinfo.go)."""
MAX_MESSAGE_BYTES: Final = 1024


class HealthStream:
    """The latest verdicts, for any number of streams."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._verdicts: Mapping[DeviceId, Verdict] | None = None
        self._changed = asyncio.Event()

    def publish_verdicts(self, verdicts: Mapping[DeviceId, Verdict]) -> None:
        """Send these verdicts."""
        self._verdicts = dict(verdicts)
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch_health(self) -> AsyncIterator[bytes]:
        """Yield all devices' health now, after each change, and every RESEND_INTERVAL_S."""
        while True:
            changed = self._changed
            if self._verdicts is not None:
                yield self._build_message(self._verdicts)
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_moment(now, RESEND_INTERVAL_S)):
                    await changed.wait()

    def _build_message(self, verdicts: Mapping[DeviceId, Verdict]) -> bytes:
        now = int(datetime.now(UTC).timestamp())
        return pb.NodeWatchResourcesResponse(
            devices=[
                pb.DeviceHealth(
                    device=pb.DeviceIdentifier(
                        pool_name=self._node, device_name=dra_device_name(device)
                    ),
                    health=_health_of(verdict),
                    last_updated_time=now,
                    message=limit_bytes(
                        "; ".join(filter(None, (verdict.reason, *verdict.warnings))),
                        MAX_MESSAGE_BYTES,
                    ),
                )
                for device, verdict in verdicts.items()
            ]
        ).SerializeToString()


def _health_of(verdict: Verdict) -> pb.HealthStatus:
    if verdict.phase is HealthPhase.UNKNOWN:
        return pb.HealthStatus.UNKNOWN
    return pb.HealthStatus.HEALTHY if verdict.healthy else pb.HealthStatus.UNHEALTHY

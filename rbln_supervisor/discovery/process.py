"""Runs a discovery in a separate process, so that nothing on the node can block the loop.

Thousands of reads, locks behind a netlink dump, devlink, ddptool: all waiting happens there. The
process is forked (1.5 ms, imports are shared), writes its result as MessagePack into a pipe, and
ends.

The discovery for a new configuration also asks the kubelet which pods use which devices. It does so
last, so that the answer is as recent as possible when the configuration becomes active.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.workers.forked_collector import Collected, ForkedCollector
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from rbln_worker.kubelet import pod_resources
from rbln_worker.process import limits
from rbln_worker.process.privileges import Capability, keep_only

DEADLINE_S: Final = 10.0
"""Maximum duration of a discovery (seconds). One of 4,096 functions takes 1 s, a silent kubelet 2
s."""
MAX_RESULT_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a result. 20,000 functions of 600 bytes fit."""
DISCOVERY_KEEPS: Final = (Capability.NET_ADMIN,)
"""devlink reports an eswitch's mode only with it (net/devlink, GENL_ADMIN_PERM)."""
DDPTOOL_KEEPS: Final = (Capability.SYS_ADMIN,)
"""ddptool reads the config space beyond 64 bytes."""

_RESULT: Final[msgspec.msgpack.Decoder[DiscoveryResult]] = msgspec.msgpack.Decoder(DiscoveryResult)


class DiscoveryProcess(ForkedCollector):
    """Runs at most one discovery at a time. Never waits: ``poll_result`` returns the result."""

    def __init__(
        self,
        root: Path,
        pod_resources_dir: Path,
        *,
        deadline_s: float = DEADLINE_S,
        max_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        super().__init__(max_bytes=max_bytes, limit_s=deadline_s)
        self._root = root
        self._pods_socket = pod_resources_dir / pod_resources.SOCKET

    def start_discovery(self, needs: Needs, resources: frozenset[str] | None = None) -> None:
        """Start a discovery; none may be running. Raises OSError if there can be no process.

        ``resources``: those of which the kubelet is asked which pods use them; None: it is not.
        """
        self.start_child(lambda pipe: self._write_result(pipe, needs, resources))

    def poll_result(self, now: float) -> DiscoveryResult | None:
        """Return the result of the discovery, once; None if there is nothing new."""
        collected = self.poll_child(now)
        return None if collected is None else decode_result(collected)

    def _write_result(self, pipe: int, needs: Needs, resources: frozenset[str] | None) -> int:
        """Run the discovery in the forked process."""
        keep_only(*DISCOVERY_KEEPS, *(DDPTOOL_KEEPS if needs.ddp_profiles else ()))
        limits.raise_oom_score()  # a worker reports it if that fails
        result = scan_node(self._root, needs)
        if resources is not None and result.failed is None:
            held = pod_resources.list_pod_devices(self._pods_socket, resources)
            result = msgspec.structs.replace(result, held=held)
        with open(pipe, "wb", closefd=False) as file:
            file.write(msgspec.msgpack.encode(result))
        return Exit.DRAINED


def required_reads(
    pools: Iterable[PoolConfig], *, allow_default_route: bool, only: frozenset[Bdf] | None = None
) -> Needs:
    """Return what a discovery has to read of the node for these pools.

    ``only``: restricts it to these functions; None: all functions.
    """
    pools = tuple(pools)
    types = {pool.spec.device_type for pool in pools}
    selectors = tuple(selector for pool in pools for selector in pool.selectors)
    return Needs(
        only=only,
        base_classes=frozenset(DEVICE_TYPES[name].base_class for name in types),
        acpi_indexes=any(selector.acpi_indexes for selector in selectors),
        subfunctions="auxNetDevice" in types,
        rdma=any(selector.is_rdma for selector in selectors),
        ddp_profiles=any(selector.ddp_profiles for selector in selectors),
        default_routes=not allow_default_route,
    )


def decode_result(collected: Collected) -> DiscoveryResult:
    """Return the result that a discovery's process has written, or the reason why there is none."""
    if collected.failure:
        return DiscoveryResult(failed=f"the discovery {collected.failure}")
    try:
        return _RESULT.decode(collected.output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DiscoveryResult(
            failed=f"the discovery ended without a result ({collected.how}), see the log"
        )

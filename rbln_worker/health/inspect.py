"""Health check of a device: reads its files, each of which may block.

A full check reads all files and evaluates them. A comparison reads all again, a quick check only
those that change without a kernel event; both do a full check if a fact has changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, build_allocation
from rbln_worker.core.allocation.host_facts import Fact, Need
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import CheckResult, Depth
from rbln_worker.host.facts import Reader

_MAX_CACHED: Final = 4096
"""Maximum number of devices with cached results; then the cache is cleared."""


class _LastCheck(msgspec.Struct, frozen=True):
    """The last health check of a device and its input."""

    device: Device
    pool: PoolSpec
    facts: Mapping[Need, Fact]
    """All facts that were read, in order."""
    volatile_reads: tuple[Need, ...]
    """Reads of files that change without a kernel event."""
    result: CheckResult


class DeviceInspector:
    """Health checks of a pool's devices. Threads share it, each for different devices."""

    def __init__(self, write_info: Callable[[DeviceAllocation], str]) -> None:
        """Write device-info files with ``write_info``, which returns the error or nothing."""
        self._write_info = write_info
        self._last_checks: dict[DeviceId, _LastCheck] = {}

    def check_device(
        self, reader: Reader, device: Device, pool: PoolSpec, depth: Depth
    ) -> CheckResult | None:
        """Check a device; return None if nothing has changed, except at full depth."""
        last = self._last_checks.get(device.id)
        if last is None or depth is Depth.FULL or (last.device, last.pool) != (device, pool):
            return self._read_all(reader, device, pool)
        # One at a time: a function that is suspended now must not be read further.
        reads = last.facts if depth is Depth.IF_CHANGED else last.volatile_reads
        is_same = all(reader.read_fact(need) == last.facts[need] for need in reads)
        if is_same and depth is Depth.IF_CHANGED and (told := last.result.answer):
            unusable = _unusable_reason(reader, told)
            is_same = (unusable or self._write_info(told)) == last.result.unusable
        return None if is_same else self._read_all(reader, device, pool)

    def _read_all(self, reader: Reader, device: Device, pool: PoolSpec) -> CheckResult:
        read = reader.read_facts(allocation_reads(device, pool))
        told = build_allocation(ProviderInput(device, pool, read))
        unusable = _unusable_reason(reader, told)
        unwritten = "" if unusable else self._write_info(told)
        asked = evidence.health_reads(device, told)
        further = evidence.further_reads(device, told, reader.read_facts(asked))
        shown = evidence.detail_reads(device, pool, told)
        facts = reader.read_facts((*asked, *further, *shown))
        told = evidence.with_details(device, pool, told, facts)
        found = evidence.gather_evidence(
            device,
            told,
            facts,
            unusable=unusable,
            unwritten=unwritten,
            statuses=pool.health.npu_statuses,
        )
        finding = CheckResult(found, told, unusable or unwritten)
        everything = (read | facts).all_facts()
        untold = evidence.quick_reads(device, told, facts)
        if len(self._last_checks) >= _MAX_CACHED and device.id not in self._last_checks:
            self._last_checks.clear()
        self._last_checks[device.id] = _LastCheck(device, pool, everything, untold, finding)
        return finding

    def forget_results(self, devices: Iterable[DeviceId]) -> None:
        """Forget the last results of devices, so that each next call is a full check."""
        for device in devices:
            self._last_checks.pop(device, None)


def _unusable_reason(reader: Reader, told: DeviceAllocation) -> str:
    nodes = [node.host for node in told.nodes]
    return evidence.unusable_reason(told, reader.missing_nodes(nodes), reader.node_problems(nodes))

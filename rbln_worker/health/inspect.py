"""Health check of a device: reads its files, each of which may block.

A full check reads all files and evaluates them. A comparison reads all again, a quick check only
those that change without a kernel event; both do a full check if a fact has changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, build_allocation
from rbln_worker.core.allocation.host_facts import Fact, HostFacts, Need
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.host.facts import Reader

_MAX_CACHED: Final = 4096
"""Maximum number of devices with cached results; then the cache is cleared."""


Kept = TypeVar("Kept")


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a health check."""

    evidence: Evidence
    answer: DeviceAllocation | None = None
    """The allocation of the device; None if it is not known."""
    unusable: str = ""
    """The reason why a container could not use it."""


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
        self._answers: dict[DeviceId, tuple[ProviderInput, DeviceAllocation]] = {}
        """Cached answers with their input."""
        self._last_checks: dict[DeviceId, _LastCheck] = {}

    def read_all(self, reader: Reader, device: Device, pool: PoolSpec) -> CheckResult:
        """Check a device: read and evaluate all of its files."""
        read = reader.read_facts(allocation_reads(device, pool))
        told = self._cached_answer(ProviderInput(device, pool, read))
        unusable = _unusable_reason(reader, told)
        unwritten = "" if unusable else self._write_info(told)
        asked = evidence.health_reads(device, told)
        further = evidence.further_reads(device, told, reader.read_facts(asked))
        facts = reader.read_facts((*asked, *further))
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
        seen = _LastCheck(device, pool, everything, untold, finding)
        _keep_bounded(self._last_checks, device.id, seen)
        return finding

    def read_if_changed(self, reader: Reader, device: Device, pool: PoolSpec) -> CheckResult | None:
        """Read all files of a device; if a fact has changed, check it, else return None."""
        seen = self._last_checks.get(device.id)
        if seen is None or not _is_unchanged(seen, reader, device, pool, seen.facts):
            return self.read_all(reader, device, pool)
        told = seen.result.answer
        unusable = _unusable_reason(reader, told) if told else ""
        unwritten = self._write_info(told) if told and not unusable else ""
        same = (unusable or unwritten) == seen.result.unusable
        return None if same else self.read_all(reader, device, pool)

    def read_volatile(self, reader: Reader, device: Device, pool: PoolSpec) -> CheckResult | None:
        """Read the files that change without a kernel event; as ``read_if_changed``."""
        seen = self._last_checks.get(device.id)
        same = seen is not None and _is_unchanged(seen, reader, device, pool, seen.volatile_reads)
        return None if same else self.read_all(reader, device, pool)

    def forget_results(self, devices: Iterable[DeviceId]) -> None:
        """Forget the last results of devices, so that each next call is a full check."""
        for device in devices:
            self._last_checks.pop(device, None)

    def _cached_answer(self, source: ProviderInput) -> DeviceAllocation:
        """Return the answer, from the cache if its input is unchanged."""
        remembered = self._answers.get(source.device.id)
        if remembered is not None and remembered[0] == source:
            return remembered[1]
        told = build_allocation(source)
        _keep_bounded(self._answers, source.device.id, (source, told))
        return told


def answer_without_files(device: Device, pool: PoolSpec) -> DeviceAllocation:
    """Return the answer for a device that was not checked yet, from facts without files."""
    return build_allocation(ProviderInput(device, pool, HostFacts()))


def _is_unchanged(
    seen: _LastCheck, reader: Reader, device: Device, pool: PoolSpec, asked: Iterable[Need]
) -> bool:
    # One at a time: a function that is suspended now must not be read further.
    return (seen.device, seen.pool) == (device, pool) and all(
        reader.read_fact(need) == seen.facts[need] for need in asked
    )


def _unusable_reason(reader: Reader, told: DeviceAllocation) -> str:
    nodes = [node.host for node in told.nodes]
    return evidence.unusable_reason(told, reader.missing_nodes(nodes), reader.node_problems(nodes))


def _keep_bounded(kept: dict[DeviceId, Kept], device: DeviceId, value: Kept) -> None:
    if len(kept) >= _MAX_CACHED and device not in kept:
        kept.clear()
    kept[device] = value

"""Health check of a device: reads its files, each of which may block.

A look reads all files and evaluates them. A check reads all again, a glance (quick check) only
those that change without a kernel event; both do a look if a fact has changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, build_allocation
from rbln_worker.core.allocation.host_facts import Fact, HostFacts, Need
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import needs
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.host.facts import Reader

_REMEMBERED_MOST: Final = 4096
"""Maximum number of devices with cached results; then the cache is cleared."""


Kept = TypeVar("Kept")


class Finding(msgspec.Struct, frozen=True):
    """The result of a health check."""

    evidence: Evidence
    answer: DeviceAllocation | None = None
    """The allocation of the device; None if it is not known."""
    unusable: str = ""
    """The reason why a container could not use it."""


class _Seen(msgspec.Struct, frozen=True):
    """The last health check of a device and its input."""

    device: Device
    pool: PoolSpec
    facts: Mapping[Need, Fact]
    """All facts that were read, in order."""
    untold: tuple[Need, ...]
    """Reads of files that change without a kernel event."""
    finding: Finding


class DeviceInspector:
    """Health checks of a pool's devices. Threads share it, each for different devices."""

    def __init__(self, write_info: Callable[[DeviceAllocation], str]) -> None:
        """Write device-info files with ``write_info``, which returns the error or nothing."""
        self._write_info = write_info
        self._answers: dict[DeviceId, tuple[ProviderInput, DeviceAllocation]] = {}
        """Cached answers with their input."""
        self._seen: dict[DeviceId, _Seen] = {}

    def look(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        """Check a device: read and evaluate all of its files."""
        read = reader.read(needs(device, pool))
        told = self._answer(ProviderInput(device, pool, read))
        unusable = _unusable(reader, told)
        unwritten = "" if unusable else self._write_info(told)
        asked = evidence.needs(device, told)
        further = evidence.further_needs(device, told, reader.read(asked))
        facts = reader.read((*asked, *further))
        found = evidence.gather(
            device,
            told,
            facts,
            unusable=unusable,
            unwritten=unwritten,
            statuses=pool.health.npu_statuses,
        )
        finding = Finding(found, told, unusable or unwritten)
        everything = (read | facts).all()
        untold = evidence.told_by_nobody(device, told, facts)
        seen = _Seen(device, pool, everything, untold, finding)
        _keep(self._seen, device.id, seen)
        return finding

    def check(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding | None:
        """Read all files of a device; if a fact has changed, check it, else return None."""
        seen = self._seen.get(device.id)
        if seen is None or not _is_as_seen(seen, reader, device, pool, seen.facts):
            return self.look(reader, device, pool)
        told = seen.finding.answer
        unusable = _unusable(reader, told) if told else ""
        unwritten = self._write_info(told) if told and not unusable else ""
        same = (unusable or unwritten) == seen.finding.unusable
        return None if same else self.look(reader, device, pool)

    def glance(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding | None:
        """Read the files that change without a kernel event; as ``check``."""
        seen = self._seen.get(device.id)
        same = seen is not None and _is_as_seen(seen, reader, device, pool, seen.untold)
        return None if same else self.look(reader, device, pool)

    def forget(self, devices: Iterable[DeviceId]) -> None:
        """Forget the last results of devices, so that each next call is a full check."""
        for device in devices:
            self._seen.pop(device, None)

    def _answer(self, question: ProviderInput) -> DeviceAllocation:
        """Return the answer, from the cache if its input is unchanged."""
        remembered = self._answers.get(question.device.id)
        if remembered is not None and remembered[0] == question:
            return remembered[1]
        told = build_allocation(question)
        _keep(self._answers, question.device.id, (question, told))
        return told


def unread(device: Device, pool: PoolSpec) -> DeviceAllocation:
    """Return the answer for a device that was not checked yet, from facts without files."""
    return build_allocation(ProviderInput(device, pool, HostFacts()))


def _is_as_seen(
    seen: _Seen, reader: Reader, device: Device, pool: PoolSpec, asked: Iterable[Need]
) -> bool:
    # One at a time: a function that is suspended now must not be read further.
    return (seen.device, seen.pool) == (device, pool) and all(
        reader.one(need) == seen.facts[need] for need in asked
    )


def _unusable(reader: Reader, told: DeviceAllocation) -> str:
    places = [node.host for node in told.nodes]
    return evidence.unusable(told, reader.missing(places), reader.unfit(places))


def _keep(kept: dict[DeviceId, Kept], device: DeviceId, value: Kept) -> None:
    if len(kept) >= _REMEMBERED_MOST and device not in kept:
        kept.clear()
    kept[device] = value

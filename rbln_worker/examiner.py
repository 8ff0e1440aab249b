"""What there is to find out about a device, by reading its files; any of them may block.

A look reads all of them, and says what that comes to. A check reads all of them again, a glance
only what changes without a word of the kernel; both look where anything is not what it was.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.answer import DeviceAnswer, answer
from rbln_worker.core.facts import Fact, Facts, Need
from rbln_worker.core.health import evidence
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.providers.offer import Question
from rbln_worker.core.providers.registry import needs
from rbln_worker.host.facts import Reader

_REMEMBERED_MOST: Final = 4096
"""Devices of which something is remembered; then that begins anew."""


Kept = TypeVar("Kept")


class Finding(msgspec.Struct, frozen=True):
    """What a look at a device came to."""

    evidence: Evidence
    answer: DeviceAnswer | None = None
    """What a container would get; None where that was not found out."""
    unusable: str = ""
    """Why a container could not use that."""


class _Seen(msgspec.Struct, frozen=True):
    """What the last look at a device depends on."""

    device: Device
    pool: PoolSpec
    facts: Mapping[Need, Fact]
    """All that was read, in order."""
    untold: tuple[Need, ...]
    """Those of which the kernel tells nobody."""
    finding: Finding


class Examiner:
    """Reads for a pool. Used by several threads, for different devices each."""

    def __init__(self, write_info: Callable[[DeviceAnswer], str]) -> None:
        """``write_info`` writes a device's file, or says why it can't be."""
        self._write_info = write_info
        self._answers: dict[DeviceId, tuple[Question, DeviceAnswer]] = {}
        """Answers that need not be made again."""
        self._seen: dict[DeviceId, _Seen] = {}

    def look(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        """All that is to be known of the device."""
        read = reader.read(needs(device, pool))
        told = self._answer(Question(device, pool, read))
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
        """The same where anything has changed since the last look; else None."""
        seen = self._seen.get(device.id)
        if seen is None or not _is_as_seen(seen, reader, device, pool, seen.facts):
            return self.look(reader, device, pool)
        told = seen.finding.answer
        unusable = _unusable(reader, told) if told else ""
        unwritten = self._write_info(told) if told and not unusable else ""
        same = (unusable or unwritten) == seen.finding.unusable
        return None if same else self.look(reader, device, pool)

    def glance(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding | None:
        """The same where it may have changed without a word since the last look; else None."""
        seen = self._seen.get(device.id)
        same = seen is not None and _is_as_seen(seen, reader, device, pool, seen.untold)
        return None if same else self.look(reader, device, pool)

    def forget(self, devices: Iterable[DeviceId]) -> None:
        """Have them looked at, whatever is asked for: something else was said of them meanwhile."""
        for device in devices:
            self._seen.pop(device, None)

    def _answer(self, question: Question) -> DeviceAnswer:
        """The answer, made once as long as nothing that it is made of changes."""
        remembered = self._answers.get(question.device.id)
        if remembered is not None and remembered[0] == question:
            return remembered[1]
        told = answer(question)
        _keep(self._answers, question.device.id, (question, told))
        return told


def unread(device: Device, pool: PoolSpec) -> DeviceAnswer:
    """The answer for a device that nobody has looked at yet: what is known of it without files."""
    return answer(Question(device, pool, Facts()))


def _is_as_seen(
    seen: _Seen, reader: Reader, device: Device, pool: PoolSpec, asked: Iterable[Need]
) -> bool:
    # One after the other: a function that has gone to sleep must not be asked for more.
    return (seen.device, seen.pool) == (device, pool) and all(
        reader.one(need) == seen.facts[need] for need in asked
    )


def _unusable(reader: Reader, told: DeviceAnswer) -> str:
    places = [node.host for node in told.nodes]
    return evidence.unusable(told, reader.missing(places), reader.unfit(places))


def _keep(kept: dict[DeviceId, Kept], device: DeviceId, value: Kept) -> None:
    if len(kept) >= _REMEMBERED_MOST and device not in kept:
        kept.clear()
    kept[device] = value

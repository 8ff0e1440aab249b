"""What there is to find out about a device, by reading its files; any of them may block.

A look reads all of them. A glance reads again what changes without a word of the kernel, and looks
only where that is not what it was.
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


class _Glanced(msgspec.Struct, frozen=True):
    """What the last look at a device depends on."""

    device: Device
    pool: PoolSpec
    facts: Mapping[Need, Fact]


class Examiner:
    """Reads for a pool. Used by several threads, for different devices each."""

    def __init__(self, write_info: Callable[[DeviceAnswer], str]) -> None:
        """``write_info`` writes a device's file, or says why it can't be."""
        self._write_info = write_info
        self._answers: dict[DeviceId, tuple[Question, DeviceAnswer]] = {}
        """Answers that need not be made again."""
        self._glances: dict[DeviceId, _Glanced] = {}

    def look(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding:
        """All that is to be known of the device."""
        told = self._answer(Question(device, pool, reader.read(needs(device, pool))))
        places = [node.host for node in told.nodes]
        unusable = evidence.unusable(told, reader.missing(places), reader.unfit(places))
        unwritten = "" if unusable else self._write_info(told)
        asked = evidence.needs(device, told)
        further = evidence.further_needs(device, told, reader.read(asked))
        facts = reader.read((*asked, *further))
        _keep(
            self._glances,
            device.id,
            _Glanced(device, pool, evidence.told_by_nobody(device, told, facts)),
        )
        found = evidence.gather(device, told, facts, unusable=unusable, unwritten=unwritten)
        return Finding(found, told, unusable or unwritten)

    def glance(self, reader: Reader, device: Device, pool: PoolSpec) -> Finding | None:
        """The same where it may have changed since the last look; else None."""
        last = self._glances.get(device.id)
        if last is None or (last.device, last.pool) != (device, pool):
            return self.look(reader, device, pool)
        # One after the other: a function that has gone to sleep must not be asked for more.
        same = all(reader.one(need) == fact for need, fact in last.facts.items())
        return None if same else self.look(reader, device, pool)

    def forget(self, devices: Iterable[DeviceId]) -> None:
        """Have them looked at, also by a glance: something else was said of them meanwhile."""
        for device in devices:
            self._glances.pop(device, None)

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


def _keep(kept: dict[DeviceId, Kept], device: DeviceId, value: Kept) -> None:
    if len(kept) >= _REMEMBERED_MOST and device not in kept:
        kept.clear()
    kept[device] = value

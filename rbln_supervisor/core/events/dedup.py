"""De-duplication of events: each transition is recorded once, however often it is reported.

A worker reports all transitions that it remembers to a new supervisor, and a new worker reports the
health of each device. So the last record decides: the highest number of a worker's incarnation, the
last health of a device, the last state of a pool. All three are in the records themselves; where
old records are dropped, a checkpoint (``DedupState``) precedes the others.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.events.event import Event, bounded
from rbln_worker.contract.events import Transition

HEARD_MOST: Final = 20_000
"""Maximum number of transitions taken from one message: one for each device, and more than a worker
keeps."""
DEVICES_MOST: Final = 20_000
"""Maximum number of devices with a remembered health; a transition of others may be recorded
twice."""


class DedupState(msgspec.Struct, frozen=True, tag="marks"):
    """A checkpoint: the last record of each worker, device and pool."""

    number: int = 0
    """Number of the newest event."""
    lives: Mapping[str, tuple[str, int]] = {}
    """By pool: the last incarnation of a worker that reported something, and its last number."""
    words: Mapping[str, tuple[str, str, str]] = {}
    """By pool and device (``pool device``): health, source, reason; only devices that are not
    Healthy."""
    states: Mapping[str, str] = {}
    """By pool."""


class EventDeduplicator:
    """The checkpoint while it is updated."""

    def __init__(self) -> None:
        self._number = 0
        self._lives: dict[str, tuple[str, int]] = {}
        self._words: dict[str, tuple[str, str, str]] = {}
        self._states: dict[str, str] = {}

    @property
    def marks(self) -> DedupState:
        """The checkpoint that has to precede the records that follow."""
        return DedupState(self._number, self._lives, self._words, self._states)

    def read(self, record: Event | DedupState) -> None:
        """Apply an earlier record."""
        if isinstance(record, DedupState):
            self._number = max(self._number, record.number)
            self._lives |= record.lives
            self._words = dict(record.words)
            self._states |= record.states
            return
        self._number = max(self._number, record.number)
        if record.worker:
            self._lives[record.pool] = (record.worker, record.turn)
        if record.kind == "device":
            self._say(record.pool, record.device, (record.what, record.source, record.why))
        if record.kind == "pool":
            self._states[record.pool] = record.what

    def record(self, event: Event) -> Event:
        """Return an event with its number, and with texts of limited length."""
        self._number += 1
        numbered = msgspec.structs.replace(
            event,
            number=self._number,
            what=bounded(event.what),
            pool=bounded(event.pool),
            device=bounded(event.device),
            source=bounded(event.source),
            why=bounded(event.why),
        )
        self.read(numbered)
        return numbered

    def told(
        self, pool: str, life: str, happened: Iterable[Transition], now: float
    ) -> Iterator[Event]:
        """Record the new ones among a worker's reported transitions.

        Args:
            pool: the worker's pool.
            life: its incarnation.
            happened: in their order.
            now: seconds since the epoch; later times are replaced by it.
        """
        last_life, last = self._lives.get(pool, ("", 0))
        last = last if last_life == life else 0
        for one in happened:
            if one.number <= last:
                continue
            last = one.number
            if not one.device or self._is_news(pool, one):
                yield self.record(_event(pool, life, one, now))

    def stands(self, pool: str, state: str, why: str, now: float) -> Event | None:
        """Record a pool's state if it has changed."""
        if self._states.get(pool) == state:
            return None
        return self.record(Event(0, now, "pool", state, pool, why=why))

    def forget(self, pool: str) -> None:
        """Forget a pool that was removed: a later one of that name is another pool."""
        self._lives.pop(pool, None)
        self._states.pop(pool, None)
        for key in [key for key in self._words if key.startswith(f"{pool} ")]:
            del self._words[key]

    def _is_news(self, pool: str, one: Transition) -> bool:
        """Return True if a device's transition is not known yet."""
        before = self._words.get(f"{pool} {bounded(one.device)}")
        if before is None:
            # A device counts as Healthy until a report differs; its first Healthy report is no
            # transition.
            return not (one.first and one.word == "Healthy")
        return before != (one.word, bounded(one.source), bounded(one.reason))

    def _say(self, pool: str, device: str, word: tuple[str, str, str]) -> None:
        key = f"{pool} {device}"
        self._words.pop(key, None)
        if word[0] != "Healthy" and len(self._words) < DEVICES_MOST:
            self._words[key] = word


def _event(pool: str, life: str, one: Transition, now: float) -> Event:
    at = one.at if math.isfinite(one.at) and 0 < one.at <= now else now
    return Event(
        0,
        round(at, 3),
        "device" if one.device else "registration",
        one.word,
        pool,
        one.device,
        source=one.source,
        why=one.reason,
        worker=life,
        turn=one.number,
    )

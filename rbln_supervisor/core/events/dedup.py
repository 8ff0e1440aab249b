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

from rbln_supervisor.core.events.event import Event, limit_text
from rbln_worker.contract.events import Transition

MAX_TRANSITIONS: Final = 20_000
"""Maximum number of transitions taken from one message: one for each device, and more than a worker
keeps."""
MAX_DEVICES: Final = 20_000
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
        self._healths: dict[str, tuple[str, str, str]] = {}
        self._states: dict[str, str] = {}

    @property
    def checkpoint(self) -> DedupState:
        """The checkpoint that has to precede the records that follow."""
        return DedupState(self._number, self._lives, self._healths, self._states)

    def apply_record(self, record: Event | DedupState) -> None:
        """Apply an earlier record."""
        if isinstance(record, DedupState):
            self._number = max(self._number, record.number)
            self._lives |= record.lives
            self._healths = dict(record.words)
            self._states |= record.states
            return
        self._number = max(self._number, record.number)
        if record.worker:
            self._lives[record.pool] = (record.worker, record.turn)
        if record.kind == "device":
            self._remember_health(
                record.pool, record.device, (record.what, record.source, record.why)
            )
        if record.kind == "pool":
            self._states[record.pool] = record.what

    def number_event(self, event: Event) -> Event:
        """Return an event with its number, and with texts of limited length."""
        self._number += 1
        numbered = msgspec.structs.replace(
            event,
            number=self._number,
            what=limit_text(event.what),
            pool=limit_text(event.pool),
            device=limit_text(event.device),
            source=limit_text(event.source),
            why=limit_text(event.why),
        )
        self.apply_record(numbered)
        return numbered

    def new_transitions(
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
                yield self.number_event(_transition_event(pool, life, one, now))

    def pool_transition(self, pool: str, state: str, why: str, now: float) -> Event | None:
        """Record a pool's state if it has changed."""
        if self._states.get(pool) == state:
            return None
        return self.number_event(Event(0, now, "pool", state, pool, why=why))

    def forget_pool(self, pool: str) -> None:
        """Forget a pool that was removed: a later one of that name is another pool."""
        self._lives.pop(pool, None)
        self._states.pop(pool, None)
        for key in [key for key in self._healths if key.startswith(f"{pool} ")]:
            del self._healths[key]

    def _is_news(self, pool: str, one: Transition) -> bool:
        """Return True if a device's transition is not known yet."""
        before = self._healths.get(f"{pool} {limit_text(one.device)}")
        if before is None:
            # A device counts as Healthy until a report differs; its first Healthy report is no
            # transition.
            return not (one.first and one.word == "Healthy")
        return before != (one.word, limit_text(one.source), limit_text(one.reason))

    def _remember_health(self, pool: str, device: str, word: tuple[str, str, str]) -> None:
        key = f"{pool} {device}"
        self._healths.pop(key, None)
        if word[0] != "Healthy" and len(self._healths) < MAX_DEVICES:
            self._healths[key] = word


def _transition_event(pool: str, life: str, one: Transition, now: float) -> Event:
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

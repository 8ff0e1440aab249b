"""The event recorder of a worker: event history with a clock."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import REASON_MOST, Transition
from rbln_worker.contract.health import Verdict
from rbln_worker.core import event_history


class EventRecorder:
    """A recorder of transitions of devices and of the registration."""

    def __init__(self) -> None:
        self._memory = event_history.EventHistory()
        self._listed = False
        self._begun_with: frozenset[DeviceId] | None = None

    def after(self, number: int) -> tuple[Transition, ...]:
        """Return the transitions after a number that are still kept."""
        return event_history.after(self._memory, number)

    def judged(
        self,
        before: Mapping[DeviceId, Verdict],
        after: Mapping[DeviceId, Verdict],
        *,
        devices: int,
    ) -> None:
        """Record the transitions of devices whose verdicts have changed."""
        if self._begun_with is None:
            self._begun_with = frozenset(after)
        happened = event_history.transitions(before, after, _now(), self._begun_with)
        self._memory = event_history.remember(self._memory, happened, devices=devices)

    def stands(self, *, listed: bool, way: str, reason: str) -> None:
        """Record a change of the registration, with its way; if it ended, with the reason."""
        if listed == self._listed:
            return
        self._listed = listed
        word = event_history.REGISTERED if listed else event_history.UNREGISTERED
        told = Transition(0, _now(), word, source=way, reason=reason[:REASON_MOST])
        self._memory = event_history.remember(self._memory, [told], devices=0)


def _now() -> float:
    """Return the seconds since the epoch, rounded as in verdicts."""
    return round(datetime.now(UTC).timestamp(), 3)

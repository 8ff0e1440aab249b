"""The event recorder of a worker: event history with a clock."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.events import MAX_REASON_LENGTH, Transition
from rbln_worker.contract.health import Verdict
from rbln_worker.core import event_history


class EventRecorder:
    """A recorder of transitions of devices and of the registration."""

    def __init__(self) -> None:
        self._history = event_history.EventHistory()
        self._listed = False
        self._begun_with: frozenset[DeviceId] | None = None

    def transitions_after(self, number: int) -> tuple[Transition, ...]:
        """Return the transitions after a number that are still kept."""
        return event_history.transitions_after(self._history, number)

    def record_verdicts(
        self,
        before: Mapping[DeviceId, Verdict],
        after: Mapping[DeviceId, Verdict],
        *,
        devices: int,
    ) -> None:
        """Record the transitions of devices whose verdicts have changed."""
        if self._begun_with is None:
            self._begun_with = frozenset(after)
        happened = event_history.find_transitions(before, after, _epoch_now(), self._begun_with)
        self._history = event_history.append_transitions(self._history, happened, devices=devices)

    def record_registration(self, *, listed: bool, way: str, reason: str) -> None:
        """Record a change of the registration, with its way; if it ended, with the reason."""
        if listed == self._listed:
            return
        self._listed = listed
        word = event_history.REGISTERED if listed else event_history.UNREGISTERED
        told = Transition(0, _epoch_now(), word, source=way, reason=reason[:MAX_REASON_LENGTH])
        self._history = event_history.append_transitions(self._history, [told], devices=0)


def _epoch_now() -> float:
    """Return the seconds since the epoch, rounded as in verdicts."""
    return round(datetime.now(UTC).timestamp(), 3)

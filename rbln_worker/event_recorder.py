"""The event recorder of a worker: transitions of its devices and of its registration."""

from collections.abc import Mapping

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.core.device_events import find_transitions
from rbln_worker.process.event_file import EventFile, epoch_now
from rbln_worker.spec import WorkerSpec


class EventRecorder:
    """A recorder of transitions, each in the pool's file of events at once."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._pool = spec.pool
        self._file = EventFile(spec.events_path)
        self._is_listed = False
        self._present_at_start: frozenset[DeviceId] | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Reasons why the file is incomplete."""
        return (self._file.problem,) if self._file.problem else ()

    def record_verdicts(
        self, before: Mapping[DeviceId, Verdict], after: Mapping[DeviceId, Verdict]
    ) -> None:
        """Record the transitions of devices whose verdicts have changed."""
        if self._present_at_start is None:
            self._present_at_start = frozenset(after)
        for event in find_transitions(
            *(self._pool, before, after, self._file.last, self._present_at_start, epoch_now())
        ):
            self._file.append_event(event)
        self._file.write_pending()

    def record_registration(self, *, listed: bool, way: str, reason: str) -> None:
        """Record a change of the registration, with its way; if it ended, with the reason."""
        if listed == self._is_listed:
            return
        self._is_listed = listed
        self._file.record_event(
            "registration",
            "registered" if listed else "unregistered",
            pool=self._pool,
            source=way,
            why=reason,
        )
        self._file.write_pending()

    def write_pending(self) -> bool:
        """Write what could not be written before; return True if the problems have changed."""
        before = self._file.problem
        self._file.write_pending()
        return self._file.problem != before

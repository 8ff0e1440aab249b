"""A connection between a worker and a supervisor, which loses, doubles and reorders messages."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from rbln_worker.contract import messages
from rbln_worker.core.step import events
from tests.simulation.faults import Faults
from tests.simulation.simulated_worker import SimulatedWorker

IN_ORDER: Final = (messages.Hello, messages.Report, messages.PodsHold, messages.Snapshot)
"""Messages that only a new connection repeats. They arrive, or are refused at once, as by ZeroMQ;
the protocol covers the loss of all others."""
REFUSED: Final = 0.03
"""Probability that a connection takes nothing now."""
M = TypeVar("M", bound=messages.ToWorker | messages.ToSupervisor)


class Channel:
    """One connection of a worker; it ends with either side."""

    def __init__(
        self,
        worker: SimulatedWorker,
        address: bytes,
        faults: Faults,
        receive: Callable[[bytes, messages.ToSupervisor], None],
    ) -> None:
        self.worker = worker
        self.address = address
        self.is_open = True
        self.loses_snapshot = False
        """True if the next snapshot is lost."""
        self._faults = faults
        self._receive = receive
        self._in_order_at = 0.0
        self._hello_sent = False
        self._last_report: messages.Report | None = None

    def send_to_supervisor(self, message: messages.ToSupervisor) -> None:
        """Send a message, as the worker's session does: a report only if it has changed."""
        if isinstance(message, messages.Hello):
            self._hello_sent = self._send(message, self._arrive_at_supervisor)
            self._last_report = None
        elif not self._hello_sent:
            if isinstance(message, messages.Heartbeat):
                again = partial(self.worker.post, events.LinkConnected())
                self._faults.timeline.after(0.0, again)
        elif not isinstance(message, messages.Report):
            self._send(message, self._arrive_at_supervisor)
        elif message != self._last_report and self._send(message, self._arrive_at_supervisor):
            self._last_report = message

    def send_to_worker(self, message: messages.ToWorker) -> bool:
        """Send a message; return False if the connection does not take it."""
        if self.loses_snapshot and isinstance(message, messages.Snapshot):
            self.loses_snapshot = False
            return True
        return self._send(message, self._arrive_at_worker)

    def _send(self, message: M, arrive: Callable[[M], None]) -> bool:
        if not self.is_open or self._faults.happens(REFUSED):
            return False
        deliver = partial(arrive, message)
        if isinstance(message, IN_ORDER):
            now = self._faults.timeline.now
            self._in_order_at = max(self._in_order_at, now + self._faults.delay())
            self._faults.timeline.at(self._in_order_at, deliver)
        else:
            self._faults.deliver(deliver)
        return True

    def _arrive_at_supervisor(self, message: messages.ToSupervisor) -> None:
        if self.is_open:
            self._receive(self.address, message)

    def _arrive_at_worker(self, message: messages.ToWorker) -> None:
        if self.is_open:
            self.worker.post(message)

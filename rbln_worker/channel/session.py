"""The session protocol with the supervisor: hello, heartbeats, reports."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.contract.counters import WorkerCounters, counters_differ
from rbln_worker.contract.messages import (
    Heartbeat,
    Hello,
    Report,
    SnapshotRequest,
    State,
    StateReport,
    StateRequest,
    ToSupervisor,
)

HEARTBEATS_PER_COUNTERS: Final = 8
"""Heartbeats between two messages with counters of health checks only."""

log = logging.getLogger(__name__)


class HeldState(NamedTuple):
    """The state that a worker has: a supervisor's session and the generation in it."""

    session: str = ""
    generation: int = 0


class SessionSources(NamedTuple):
    """Sources of the worker's messages, called whenever a message may have changed."""

    hello: Callable[[], Hello]
    held_state: Callable[[], HeldState]
    state_report: Callable[[], StateReport]
    report: Callable[[], Report]
    counters: Callable[[], WorkerCounters]


class SupervisorSession:
    """A session with the supervisor: hello on every connection, heartbeats, changed reports."""

    def __init__(
        self,
        link: SupervisorSocket,
        sources: SessionSources,
        *,
        on_message: Callable[[State], None],
        alone_s: float,
    ) -> None:
        """Use ``link``; ``alone_s``: seconds between log lines that there is no supervisor."""
        self._link = link
        self._sources = sources
        self._on_message = on_message
        self._hello_sent = False
        self._sent_report: Report | None = None
        self._sent_counters: WorkerCounters | None = None
        self._unsent_beats = 0
        """Heartbeats since counters were sent."""
        self._log_interval_s = alone_s
        self._last_sent_at = self._last_logged_at = asyncio.get_running_loop().time()

    def start_receiving(self) -> None:
        """Start to receive."""
        loop = asyncio.get_running_loop()
        for fd in self._link.file_descriptors():
            loop.add_reader(fd, self._receive_messages)
        self._receive_messages()

    def report_changes(self) -> None:
        """Send the report if it has changed."""
        if not self._hello_sent:
            return
        report = self._sources.report()
        if report != self._sent_report and self._send_message(report):
            self._sent_report = report

    def request_snapshot(self) -> None:
        """Request a snapshot, after a gap."""
        self._send_message(SnapshotRequest(self._sources.held_state().generation))

    def send_heartbeat(self) -> None:
        """Send a heartbeat, every HEARTBEAT_INTERVAL_S."""
        if self._hello_sent:
            session, generation = self._sources.held_state()
            self._send_message(Heartbeat(session, generation, self._link.dropped_frames))
            self._send_counters()
        else:
            self._send_hello()
        self._log_alone()

    def _receive_messages(self) -> None:
        if self._link.has_connected():
            self._hello_sent = False
        for message in self._link.receive():
            if isinstance(message, StateRequest):
                self._send_message(self._sources.state_report())
            else:
                self._on_message(message)
        if not self._hello_sent:
            self._send_hello()

    def _send_hello(self) -> None:
        # The handshake is reported before the connection takes frames. Then the next attempt
        # follows when the socket's descriptor becomes readable, and with every heartbeat.
        self._hello_sent = self._send_message(self._sources.hello())
        if self._hello_sent:
            self._sent_report = self._sent_counters = None
            self.report_changes()
            self._send_counters()

    def _send_counters(self) -> None:
        # Not in a call: counters cost at most a message for each heartbeat, whatever the load.
        figures = self._sources.counters()
        self._unsent_beats += 1
        wanted = self._unsent_beats >= HEARTBEATS_PER_COUNTERS
        wanted = wanted or counters_differ(self._sent_counters, figures)
        if wanted and figures != self._sent_counters and self._send_message(figures):
            self._sent_counters, self._unsent_beats = figures, 0

    def _send_message(self, message: ToSupervisor) -> bool:
        sent = self._link.send(message)
        if sent:  # receive() after send(): libzmq's descriptor signals on edges
            loop = asyncio.get_running_loop()
            self._last_sent_at = self._last_logged_at = loop.time()
            loop.call_soon(self._receive_messages)
        return sent

    def _log_alone(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._last_logged_at >= self._log_interval_s:
            self._last_logged_at = now
            log.warning(
                "no supervisor listens; the pool is served on",
                extra={"for_s": round(now - self._last_sent_at)},
            )

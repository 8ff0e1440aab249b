"""The session protocol with the supervisor: hello, heartbeats, reports."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.contract.counters import WorkerCounters, differs
from rbln_worker.contract.events import History, Transition
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
from rbln_worker.process import log as lines
from rbln_worker.process import stderr_client

LOOKS_EVERY: Final = 8
"""Heartbeats between two messages with counters of health checks only."""

log = logging.getLogger(__name__)


class HeldState(NamedTuple):
    """The state that a worker has: a supervisor's session and the generation in it."""

    session: str = ""
    generation: int = 0


class SessionSources(NamedTuple):
    """Sources of the worker's messages, called whenever a message may have changed."""

    hello: Callable[[], Hello]
    held: Callable[[], HeldState]
    holds: Callable[[], StateReport]
    report: Callable[[], Report]
    figures: Callable[[], WorkerCounters]
    history: Callable[[int], tuple[Transition, ...]]
    """Source of the transitions after a number."""


class SupervisorSession:
    """A session with the supervisor: hello on every connection, heartbeats, changed reports."""

    def __init__(
        self,
        link: SupervisorSocket,
        words: SessionSources,
        *,
        hear: Callable[[State], None],
        alone_s: float,
    ) -> None:
        """Use ``link``; ``alone_s``: seconds between log lines that there is no supervisor."""
        self._link = link
        self._words = words
        self._hear = hear
        self._greeted = False
        self._told: Report | None = None
        self._counted: WorkerCounters | None = None
        self._untold = 0
        """Heartbeats since counters were sent."""
        self._told_until = 0
        self._alone_s = alone_s
        self._taken_at = self._noted_at = asyncio.get_running_loop().time()

    def begin(self) -> None:
        """Start to receive."""
        loop = asyncio.get_running_loop()
        for fd in self._link.filenos():
            loop.add_reader(fd, self._listen)
        self._listen()

    def tell(self) -> None:
        """Send new transitions, and the report if it has changed."""
        if not self._greeted:
            return
        happened = self._words.history(self._told_until)
        if happened and self._say(History(happened)):
            self._told_until = happened[-1].number
        report = self._words.report()
        if report != self._told and self._say(report):
            self._told = report

    def want_snapshot(self) -> None:
        """Request a snapshot, after a gap."""
        self._say(SnapshotRequest(self._words.held().generation))

    def beat(self) -> None:
        """Send a heartbeat, every BEAT_S."""
        if self._greeted:
            session, generation = self._words.held()
            self._say(Heartbeat(session, generation, self._link.dropped_frames))
            self._tell_figures()
        else:
            self._greet()
        self._note_alone()

    def _listen(self) -> None:
        if self._link.connected():
            self._greeted = False
        for message in self._link.receive():
            if isinstance(message, StateRequest):
                stderr_client.borrow(self._link.run_dir, lines.redirect_stderr)
                self._say(self._words.holds())
            else:
                self._hear(message)
        if not self._greeted:
            self._greet()

    def _greet(self) -> None:
        # The handshake is reported before the connection takes frames. Then the next attempt
        # follows when the socket's descriptor becomes readable, and with every heartbeat.
        self._greeted = self._say(self._words.hello())
        if self._greeted:
            self._told = self._counted = None
            self._told_until = 0
            self.tell()
            self._tell_figures()

    def _tell_figures(self) -> None:
        # Not in a call: counters cost at most a message for each heartbeat, whatever the load.
        figures = self._words.figures()
        self._untold += 1
        wanted = differs(self._counted, figures) or self._untold >= LOOKS_EVERY
        if wanted and figures != self._counted and self._say(figures):
            self._counted, self._untold = figures, 0

    def _say(self, message: ToSupervisor) -> bool:
        sent = self._link.send(message)
        if sent:  # receive() after send(): libzmq's descriptor signals on edges
            loop = asyncio.get_running_loop()
            self._taken_at = self._noted_at = loop.time()
            loop.call_soon(self._listen)
        return sent

    def _note_alone(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._noted_at >= self._alone_s:
            self._noted_at = now
            log.warning(
                "no supervisor listens; the pool is served on",
                extra={"for_s": round(now - self._taken_at)},
            )

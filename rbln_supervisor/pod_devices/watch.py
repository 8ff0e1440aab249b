"""Runs the process that watches which pods hold which devices, and takes its newest state."""

import logging
import math
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.pod_devices.process import HEADER, pods_main
from rbln_supervisor.workers.forked_collector import ForkedCollector
from rbln_worker.contract.pod_devices import PodDevices
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.spec import KubeletDirs

FIRST_TIMEOUT_S: Final = 3.0
"""Maximum wait for the first state (seconds); then pools are served without it."""
MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a state; a longer one is an error."""
MAX_BACKOFF_S: Final = 30.0
_STEADY_S: Final = 60.0
"""Seconds; a process that has run for so long is started again at once after its end."""

_STATE: Final[msgspec.msgpack.Decoder[PodDevices]] = msgspec.msgpack.Decoder(PodDevices)

log = logging.getLogger(__name__)


class PodWatch(ForkedCollector):
    """The newest state of the devices that pods hold. ``poll_process`` never waits."""

    def __init__(self, dirs: KubeletDirs) -> None:
        super().__init__(max_bytes=2 * MAX_BYTES)
        self._dirs = dirs
        self._started_at = 0.0
        self._start_at = 0.0
        self._backoff_s = 0.0
        self._give_up_at = monotonic() + FIRST_TIMEOUT_S
        self._closed = False
        self._failure = ""
        self.current: PodDevices | None = None
        """None before the first state, for at most FIRST_TIMEOUT_S."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems of the sources."""
        known = self.current.problems if self.current else ()
        lines = (*known, *([self._failure] if self._failure else []))
        return tuple(make_problem(Code.POD_SOURCE_FAILED, f"pods' devices: {x}") for x in lines)

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``poll_process`` (monotonic seconds)."""
        if self._closed:
            return math.inf
        give_up_at = self._give_up_at if self.current is None else math.inf
        return give_up_at if self.is_busy else min(give_up_at, self._start_at)

    def poll_process(self, now: float) -> bool:
        """Read the process's output, or start it; return True if the state has changed."""
        before = self.current
        if not self._closed and not self.is_busy and now >= self._start_at:
            self._start_process(now)
        ended = self.poll_child(now)
        if self._closed:
            return False
        failure = self._take_state(ended.output if ended else self.output)
        if ended or failure:
            self.stop_child()
            if now - self._started_at >= _STEADY_S:
                self._backoff_s = 0.0
            how = ended.failure or ended.how if ended else ""
            self._schedule_retry(now, failure or f"the process that asks for them ended: {how}")
        if self.current is None and now >= self._give_up_at:
            failure, self._failure = self._failure or f"no answer in {FIRST_TIMEOUT_S:g} s", ""
            self.current = PodDevices(problems=(failure,))
        return self.current is not before

    def stop_process(self) -> None:
        """Kill the process, and wait a moment for its end; the current state stays."""
        self._closed = True
        self.stop_and_wait()

    def _start_process(self, now: float) -> None:
        dirs, self._started_at = self._dirs, now
        try:
            self.start_child(lambda pipe: pods_main(pipe, dirs))
        except OSError as error:
            self._schedule_retry(now, f"no process for them: {error.strerror}")

    def _schedule_retry(self, now: float, failure: str) -> None:
        self._backoff_s = min(MAX_BACKOFF_S, max(1.0, 2 * self._backoff_s))
        self._start_at = now + self._backoff_s
        self._failure = failure
        log.warning("cannot read which devices pods hold", extra={"why": failure})

    def _take_state(self, output: bytearray) -> str:
        """Take the newest complete state out of the output; return an error, or an empty text."""
        state = None
        while len(output) >= HEADER.size:
            (length,) = HEADER.unpack_from(output)
            if length > MAX_BYTES:
                return f"more than {MAX_BYTES} bytes"
            if len(output) < HEADER.size + length:
                break
            state = bytes(output[HEADER.size : HEADER.size + length])
            del output[: HEADER.size + length]
        if state is None:
            return ""
        try:
            self.current = _STATE.decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "a state that can't be read"
        self._failure = ""
        return ""

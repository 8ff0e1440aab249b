"""Runs the process that watches which pods hold which devices, and takes its newest state."""

import contextlib
import fcntl
import logging
import math
import os
import select
from time import monotonic
from typing import Final

import msgspec

from rbln_supervisor.pod_devices.process import HEADER, pods_main
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.processes import ChildProcess
from rbln_worker.contract.pod_devices import PodDevices
from rbln_worker.spec import KubeletDirs

FIRST_TIMEOUT_S: Final = 3.0
"""Maximum wait for the first state (seconds); then pools are served without it."""
MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a state; a longer one is an error."""
MAX_BACKOFF_S: Final = 30.0
_STEADY_S: Final = 60.0
"""Seconds; a process that has run for so long is started again at once after its end."""
_PIPE_BYTES: Final = 1024 * 1024

_STATE: Final[msgspec.msgpack.Decoder[PodDevices]] = msgspec.msgpack.Decoder(PodDevices)

log = logging.getLogger(__name__)


_KILL_TIMEOUT_MS: Final = 200
"""Time for a killed process to end: normally a few milliseconds, more if it waits for a disk."""


class PodWatch:
    """The newest state of the devices that pods hold. ``poll_process`` never waits."""

    def __init__(self, dirs: KubeletDirs) -> None:
        self._dirs = dirs
        self._process: ChildProcess | None = None
        self._pipe = -1
        self._received = bytearray()
        self._started_at = 0.0
        self._start_at = 0.0
        self._backoff_s = 0.0
        self._give_up_at = monotonic() + FIRST_TIMEOUT_S
        self._closed = False
        self._failure = ""
        self.current: PodDevices | None = None
        """None before the first state, for at most FIRST_TIMEOUT_S."""

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each: problems of the sources."""
        known = self.current.problems if self.current else ()
        lines = (*known, *([self._failure] if self._failure else []))
        return tuple(f"pods' devices: {line}" for line in lines)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_process`` has work."""
        if self._process is None:
            return ()
        return (self._process.pidfd,) if self._closed else (self._process.pidfd, self._pipe)

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``poll_process`` (monotonic seconds)."""
        if self._closed:
            return math.inf
        give_up_at = self._give_up_at if self.current is None else math.inf
        return give_up_at if self._process else min(give_up_at, self._start_at)

    def poll_process(self, now: float) -> bool:
        """Read the process's output, or start it; return True if the state has changed."""
        if self._closed:
            if self._process is not None and processes.has_ended(self._process):
                self._reap_process()
            return False
        before = self.current
        if self._process is None and now >= self._start_at:
            self._start_process(now)
        if self._process is not None:
            has_ended = processes.has_ended(self._process)
            failure = self._read_pipe()  # afterwards, so that the last output is read
            if has_ended or failure:
                self._handle_end(now, failure)
        if self.current is None and now >= self._give_up_at:
            failure, self._failure = self._failure or f"no answer in {FIRST_TIMEOUT_S:g} s", ""
            self.current = PodDevices(problems=(failure,))
        return self.current is not before

    def stop_process(self) -> None:
        """Kill the process; the current state stays.

        Wait a moment for its end: a supervisor that ends first would leave the process to process
        1, which would log an unknown process.
        """
        self._closed = True
        if self._process is None:
            return
        processes.kill_group(self._process)
        poll = select.poll()
        poll.register(self._process.pidfd, select.POLLIN)
        if poll.poll(_KILL_TIMEOUT_MS):
            self._reap_process()

    def _start_process(self, now: float) -> None:
        pipe, end = os.pipe2(os.O_CLOEXEC)
        dirs = self._dirs
        try:
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # a smaller one takes more iterations
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._process = processes.spawn(lambda: pods_main(end, dirs), keep=end)
        except OSError as error:
            os.close(pipe)
            self._schedule_retry(now, f"no process for them: {error.strerror}")
        else:
            self._pipe, self._started_at = pipe, now
        finally:
            os.close(end)

    def _handle_end(self, now: float, failure: str) -> None:
        how = self._reap_process()
        if now - self._started_at >= _STEADY_S:
            self._backoff_s = 0.0
        self._schedule_retry(now, failure or f"the process that asks for them ended: {how}")

    def _reap_process(self) -> str:
        if self._process is None:
            return ""
        processes.kill_group(self._process)
        os.close(self._pipe)
        how = processes.reap(self._process).how
        self._process = None
        self._received.clear()
        return how

    def _schedule_retry(self, now: float, failure: str) -> None:
        self._backoff_s = min(MAX_BACKOFF_S, max(1.0, 2 * self._backoff_s))
        self._start_at = now + self._backoff_s
        self._failure = failure
        log.warning("pods' devices are not known", extra={"why": failure})

    def _read_pipe(self) -> str:
        """Read all that is in the pipe; return an error, or an empty text."""
        while True:
            try:
                piece = os.read(self._pipe, _PIPE_BYTES)
            except BlockingIOError:
                break
            if not piece:
                break
            self._received += piece
            if len(self._received) > 2 * MAX_BYTES:
                return f"more than {MAX_BYTES} bytes"
        state = None
        while len(self._received) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._received)
            if length > MAX_BYTES:
                return f"more than {MAX_BYTES} bytes"
            if len(self._received) < HEADER.size + length:
                break
            state = bytes(self._received[HEADER.size : HEADER.size + length])
            del self._received[: HEADER.size + length]
        if state is None:
            return ""
        try:
            self.current = _STATE.decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "a state that can't be read"
        self._failure = ""
        return ""

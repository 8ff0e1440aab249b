"""Collects the output of a forked process through a pipe, with limits of time and size.

A discovery, the check of the installed program and the watch of pods' devices run in such a
process, so that nothing they wait for can block the loop. The process leads a group: whatever it
started ends with it.
"""

import contextlib
import fcntl
import math
import os
import select
import signal
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from rbln_supervisor.workers import processes
from rbln_supervisor.workers.processes import ChildProcess
from rbln_worker.contract.exits import Exit
from rbln_worker.process import log

_GRACE_S: Final = 2.0
"""Seconds after the limit at which a process ends itself, if the supervisor did not end it."""
_PIPE_BYTES: Final = 1024 * 1024
"""The maximum for any user (pipe(7)); one loop iteration can read that much."""
_KILL_TIMEOUT_MS: Final = 200
"""Time for a killed process to end: normally a few milliseconds, more if it waits for a disk."""


class Collected(NamedTuple):
    """The end of a process, or of the wait for it."""

    output: bytearray
    how: str = ""
    """Text that describes how it ended; empty if it was killed, and has not ended yet."""
    cause: str = ""
    """Label of the end, as in ``ExitStatus``."""
    failure: str = ""
    """Reason why it was killed; empty if it exited."""


class _Run:
    """One process."""

    def __init__(self, child: ChildProcess, pipe: int, deadline: float) -> None:
        self.child = child
        self.pipe = pipe
        self.deadline = deadline
        self.output = bytearray()
        self.is_at_end = False
        self.is_killed = False


class ForkedCollector:
    """Runs at most one process at a time. Only ``stop_and_wait`` waits."""

    def __init__(self, *, max_bytes: int, limit_s: float = math.inf) -> None:
        """Limit the output to ``max_bytes``, and the run to ``limit_s`` seconds."""
        self._max_bytes = max_bytes
        self._limit_s = limit_s
        self._run: _Run | None = None
        self.cost_s = 0.0
        """CPU seconds of the last process that has ended, with those that it waited for."""
        self.total_cost_s = 0.0
        """CPU seconds of all processes."""

    @property
    def is_busy(self) -> bool:
        """True if a process runs, or can't be killed."""
        return self._run is not None

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``poll_child`` (monotonic seconds); infinity: none."""
        return self._run.deadline if self._run else math.inf

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_child`` has work."""
        run = self._run
        if run is None:
            return ()
        is_read = not (run.is_killed or run.is_at_end)
        return (run.child.pidfd, run.pipe) if is_read else (run.child.pidfd,)

    @property
    def output(self) -> bytearray:
        """What the running process has written; a reader removes what it has read."""
        return self._run.output if self._run else bytearray()

    def start_child(self, body: Callable[[int], int]) -> None:
        """Fork a process; none may be running. Raises OSError if there can be no process.

        ``body`` gets the pipe's writing end, and returns the exit code.
        """
        pipe, end = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # a smaller one takes more iterations
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            child = processes.spawn(lambda: _run_body(body, end, self._limit_s), keep=end)
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(end)
        self._run = _Run(child, pipe, monotonic() + self._limit_s)

    def poll_child(self, now: float) -> Collected | None:
        """Read the output; return the end of the process, once; None if it goes on.

        A process that is killed for a limit is reported at once. One that can't be killed is
        reported again each time the limit has passed.
        """
        run = self._run
        if run is None:
            return None
        has_ended = processes.has_ended(run.child)
        self._read_pipe(run)  # afterwards, so that the last output is read
        overrun = (
            f"said more than {self._max_bytes} bytes and was ended"
            if len(run.output) > self._max_bytes
            else ""
        )
        if has_ended:
            os.close(run.pipe)
            self._run = None
            status = processes.reap_group(run.child)
            self.cost_s = status.cpu_s
            self.total_cost_s += status.cpu_s
            return (
                None
                if run.is_killed
                else Collected(run.output, status.how, status.cause, failure=overrun)
            )
        if not overrun and now < run.deadline:
            return None
        if run.is_killed:
            run.deadline = now + self._limit_s
            stuck = f"can't be ended: process {run.child.pid} waits in the kernel"
            return Collected(bytearray(), failure=stuck)
        self._kill_run(run, now)
        return Collected(
            bytearray(), failure=overrun or f"took more than {self._limit_s:g} s and was ended"
        )

    def stop_child(self) -> None:
        """Kill a running process, and drop its output; ``poll_child`` reaps it."""
        if self._run is not None:
            self._kill_run(self._run, monotonic())

    def stop_and_wait(self) -> None:
        """Kill a running process, and wait a moment for its end.

        A supervisor that ends first would leave the process to process 1, which would log an
        unknown process.
        """
        self.stop_child()
        poller = select.poll()
        for descriptor in self.descriptors:
            poller.register(descriptor, select.POLLIN)
            poller.poll(_KILL_TIMEOUT_MS)
        self.poll_child(monotonic())

    def _kill_run(self, run: _Run, now: float) -> None:
        run.is_killed = True
        run.output.clear()
        run.deadline = now + self._limit_s
        processes.kill_group(run.child)

    def _read_pipe(self, run: _Run) -> None:
        while len(run.output) <= self._max_bytes and not (run.is_killed or run.is_at_end):
            try:
                piece = os.read(run.pipe, _PIPE_BYTES)
            except BlockingIOError:
                return
            run.is_at_end = not piece
            run.output += piece


def _run_body(body: Callable[[int], int], pipe: int, limit_s: float) -> int:
    """Run the body in the forked process. Processes that it starts are in its group."""
    try:
        os.setpgid(0, 0)
        if limit_s < math.inf:
            # Without a supervisor no other process ends it (setitimer(2): SIGALRM does).
            signal.setitimer(signal.ITIMER_REAL, limit_s + _GRACE_S)
        return body(pipe)
    except BrokenPipeError:
        return Exit.DRAINED  # the output is not needed any more
    except BaseException:  # noqa: BLE001 - the last frame of this process
        log.write_crash(traceback.format_exc())
        return Exit.CRASHED

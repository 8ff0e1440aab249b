"""Replaces the running supervisor by the installed one: the same process, by execve(2).

The installed program is started with ``--check`` first. One that can't be started, or can't use the
options or the configuration, replaces nothing. Workers stay alive and are adopted; one of another
version serves until the kubelet lists its successor.
"""

import logging
import os
import sys
from time import monotonic
from typing import Final, NamedTuple, NoReturn

from rbln_supervisor.core.control.protocol import ErrorReply, UpgradeReply
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.processes import ChildProcess
from rbln_worker.contract.exits import Exit

CHECK_TIMEOUT_S: Final = 20.0
"""Imports take 0.3 s; with a cold disk cache or a busy machine, some seconds."""
_MAX_BYTES: Final = 64 * 1024
"""Capacity of a pipe (pipe(7)): a check that writes more blocks, and is killed at the deadline."""
_MAX_LINES: Final = 5

log = logging.getLogger(__name__)


class _Check(NamedTuple):
    process: ChildProcess
    pipe: int
    deadline: float
    """Monotonic seconds."""
    requester: bytes
    is_late: bool = False
    is_stopped: bool = False


class Outcome(NamedTuple):
    """The result of a check, and its requester."""

    requester: bytes
    reply: ErrorReply | UpgradeReply


class UpgradeCheck:
    """The check of the installed program, at most one at a time. It never waits."""

    def __init__(self) -> None:
        self._check: _Check | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_outcome`` has work."""
        return (self._check.process.pidfd,) if self._check else ()

    @property
    def next_deadline(self) -> float | None:
        """Latest time of the next call of ``poll_outcome`` (monotonic seconds)."""
        return self._check.deadline if self._check else None

    def start_check(self, requester: bytes) -> ErrorReply | None:
        """Start the check; None: ``poll_outcome`` returns its outcome."""
        if self._check is not None:
            return ErrorReply(("another upgrade is being checked",))
        pipe, end = os.pipe2(os.O_CLOEXEC)
        try:
            process = processes.spawn(lambda: _run_check(end), keep=end)
        except OSError as error:
            os.close(pipe)
            return ErrorReply((f"the installed program can't be checked: {error.strerror}",))
        finally:
            os.close(end)
        os.set_blocking(pipe, False)
        self._check = _Check(process, pipe, monotonic() + CHECK_TIMEOUT_S, requester)
        return None

    def stop_check(self) -> bytes | None:
        """Kill the check; return its requester. ``poll_outcome`` reaps it without an outcome."""
        if self._check is None:
            return None
        processes.kill_group(self._check.process)
        self._check = self._check._replace(is_stopped=True)
        return self._check.requester

    def poll_outcome(self, now: float) -> Outcome | None:
        """Return the outcome of the check, once it has ended."""
        check = self._check
        if check is None:
            return None
        if not processes.has_ended(check.process):
            if now >= check.deadline:
                processes.kill_group(check.process)
                self._check = check._replace(is_late=True, deadline=now + CHECK_TIMEOUT_S)
            return None
        self._check = None
        how = processes.reap_group(check.process)
        lines = _read_output(check.pipe)
        os.close(check.pipe)
        if check.is_stopped:
            return None
        if how.cause == "exit-0":
            return Outcome(check.requester, UpgradeReply())
        if check.is_late:
            lines = (f"it did not end within {CHECK_TIMEOUT_S:g} s",)
        log.error("the installed program can't be started", extra={"how": how.how, "said": lines})
        said = lines[-_MAX_LINES:] or (how.how,)
        refusal = "the installed program can't be started, this one goes on:"
        return Outcome(check.requester, ErrorReply((refusal, *said)))


def become_installed() -> NoReturn:
    """Replace this process by the installed program, with the same command line.

    Raises:
        OSError: The interpreter does not exist any more.
    """
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the command line that started us


def _run_check(pipe: int) -> int:
    os.setpgid(0, 0)
    for standard in (1, 2):
        os.dup2(pipe, standard)
    try:
        os.execv(sys.executable, [*sys.orig_argv, "--check"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{sys.executable}: {error.strerror}\n".encode())
    return Exit.UNUSABLE


def _read_output(pipe: int) -> tuple[str, ...]:
    try:
        said = os.read(pipe, _MAX_BYTES)
    except BlockingIOError:
        return ()
    return tuple(line for line in said.decode(errors="replace").splitlines() if line.strip())

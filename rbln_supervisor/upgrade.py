"""Replaces the running supervisor by the installed one: the same process, by execve(2).

The installed program is started with ``--check`` first. One that can't be started, or can't use the
options or the configuration, replaces nothing. Workers stay alive and are adopted; one of another
version serves until the kubelet lists its successor.
"""

import logging
import os
import sys
from typing import Final, NoReturn

from rbln_supervisor.core.control.protocol import ErrorReply, UpgradeReply
from rbln_supervisor.workers.forked_collector import ForkedCollector
from rbln_worker.contract.exits import Exit

CHECK_TIMEOUT_S: Final = 20.0
"""Imports take 0.3 s; with a cold disk cache or a busy machine, some seconds."""
_MAX_BYTES: Final = 1024 * 1024
_MAX_LINES: Final = 5

log = logging.getLogger(__name__)


class UpgradeCheck(ForkedCollector):
    """The check of the installed program, at most one at a time. It never waits."""

    def __init__(self) -> None:
        super().__init__(max_bytes=_MAX_BYTES, limit_s=CHECK_TIMEOUT_S)
        self._requester: bytes | None = None

    def start_check(self, requester: bytes) -> ErrorReply | None:
        """Start the check; None: ``poll_outcome`` returns its outcome."""
        if self.is_busy:
            return ErrorReply(("another upgrade is being checked",))
        try:
            self.start_child(_run_check)
        except OSError as error:
            return ErrorReply((f"the installed program can't be checked: {error.strerror}",))
        self._requester = requester
        return None

    def stop_check(self) -> bytes | None:
        """Kill the check; return its requester. ``poll_outcome`` reaps it without an outcome."""
        self.stop_child()
        requester, self._requester = self._requester, None
        return requester

    def poll_outcome(self, now: float) -> tuple[bytes, ErrorReply | UpgradeReply] | None:
        """Return the requester of a check that has ended, and the reply to it; once."""
        collected = self.poll_child(now)
        if collected is None or self._requester is None:
            return None
        requester, self._requester = self._requester, None
        if not collected.failure and collected.cause == "exit-0":
            return requester, UpgradeReply()
        said = collected.output.decode(errors="replace").splitlines()
        lines = tuple(line for line in said if line.strip())[-_MAX_LINES:]
        why = (f"it {collected.failure}",) if collected.failure else lines or (collected.how,)
        log.error("the installed program can't be started", extra={"said": why})
        refusal = "the installed program can't be started, this one goes on:"
        return requester, ErrorReply((refusal, *why))


def become_installed() -> NoReturn:
    """Replace this process by the installed program, with the same command line.

    Raises:
        OSError: The interpreter does not exist any more.
    """
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the command line that started us


def _run_check(pipe: int) -> int:
    for standard in (1, 2):
        os.dup2(pipe, standard)
    try:
        os.execv(sys.executable, [*sys.orig_argv, "--check"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{sys.executable}: {error.strerror}\n".encode())
    return Exit.UNUSABLE

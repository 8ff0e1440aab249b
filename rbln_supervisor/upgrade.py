"""Replaces the running supervisor by the installed one: the same process, by execve(2).

The installed program is started with ``--check`` first. One that can't be started, or can't use the
options or the configuration, replaces nothing. Workers stay alive and are adopted; one of another
version serves until the kubelet lists its successor.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from rbln_supervisor.core.control.protocol import LEAVING, ErrorReply, Reply, UpgradeReply
from rbln_supervisor.workers.forked_collector import Collected, ForkedCollector
from rbln_worker.contract.exits import Exit

CHECK_TIMEOUT_S: Final = 20.0
"""Imports take 0.3 s; with a cold disk cache or a busy machine, some seconds."""
_MAX_BYTES: Final = 1024 * 1024
_MAX_LINES: Final = 5
_BUSY: Final = ErrorReply(("another upgrade is being checked",))
_REFUSED: Final = "cannot start the installed version, this one goes on:"

log = logging.getLogger(__name__)


class UpgradeCheck(ForkedCollector):
    """The check of the installed program, at most one at a time. It never waits."""

    def __init__(self, send_reply: Callable[[bytes, Reply], None]) -> None:
        """``send_reply`` sends a reply to a client."""
        super().__init__(max_bytes=_MAX_BYTES, limit_s=CHECK_TIMEOUT_S)
        self._send_reply = send_reply
        self._requester: bytes | None = None
        """None: no check runs."""
        self._is_leaving = False
        self.is_ready = False
        """True if the process has to become the installed program."""

    def request_upgrade(self, requester: bytes) -> None:
        """Check the installed program, and reply to the requester afterwards."""
        if self._is_leaving:
            self._send_reply(requester, LEAVING)
        elif self.is_busy or self.is_ready:
            self._send_reply(requester, _BUSY)
        else:
            self._requester = requester
            try:
                self.start_child(_run_check)
            except OSError as error:
                self._end_check((f"it can't be checked: {error.strerror}",))

    def stop_check(self) -> None:
        """Kill the check, and reply to its requester; ``poll_outcome`` reaps it."""
        self.stop_child()
        self._is_leaving, self.is_ready = True, False
        self._answer_requester(LEAVING)

    def poll_outcome(self, now: float) -> None:
        """Handle the end of the check."""
        collected = self.poll_child(now)
        if collected is not None and self._requester is not None:
            is_good = not collected.failure and collected.cause == "exit-0"
            self._end_check(() if is_good else _check_errors(collected))

    def _end_check(self, errors: tuple[str, ...]) -> None:
        self.is_ready = not errors
        self._answer_requester(ErrorReply((_REFUSED, *errors)) if errors else UpgradeReply())

    def _answer_requester(self, reply: Reply) -> None:
        requester, self._requester = self._requester, None
        if requester is not None:
            self._send_reply(requester, reply)


def _check_errors(collected: Collected) -> tuple[str, ...]:
    said = collected.output.decode(errors="replace").splitlines()
    lines = tuple(line for line in said if line.strip())[-_MAX_LINES:]
    why = (f"it {collected.failure}",) if collected.failure else lines or (collected.how,)
    log.error("cannot start the installed version", extra={"said": why})
    return why


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

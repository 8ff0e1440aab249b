"""A program on a terminal of its own."""

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from time import monotonic

from tests.sim.stack import REPOSITORY


class Terminal:
    """What a program shows, and what is typed."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 100,
        lines: int = 40,
    ) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def wait(self, pattern: str, deadline_s: float = 20.0) -> str:
        """What was shown since the last time, up to what is waited for."""
        end = monotonic() + deadline_s
        while not (found := re.search(pattern, self.shown, re.DOTALL)):
            assert select.select([self._ours], [], [], max(0.0, end - monotonic()))[0], self.shown
            self.shown += os.read(self._ours, 65536).decode(errors="replace")
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """The exit code after a signal, and what is shown last."""
        self.process.send_signal(number)
        with contextlib.suppress(OSError):  # the terminal's end
            while piece := os.read(self._ours, 65536):
                self.shown += piece.decode(errors="replace")
        os.close(self._ours)
        return self.process.wait(30), self.shown

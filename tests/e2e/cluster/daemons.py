"""Processes that are started once, found again by a later run, and ended by nobody else's pid."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_WITHIN_S: Final = 10.0


class Daemons:
    """Named processes; each is recorded in a file, with its start time, while it lives."""

    def __init__(self, records: Path, logs: Path) -> None:
        self._records = records
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._logs / f"{name}.log"

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a process in a session of its own, if it does not run yet."""
        if self.alive(name):
            return
        self._records.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[name] = child
        self._record(name).write_text(f"{child.pid} {_start_time(child.pid)}\n")

    def alive(self, name: str) -> bool:
        """Whether the recorded process still runs."""
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """The living process's; a number that was given to another process since is not it."""
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            return None
        try:
            pid, started = self._record(name).read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if _start_time(int(pid)) == started else None

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a process, at the latest by SIGKILL."""
        pid = self.pid(name)
        if pid is not None:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                pass
            else:
                _end(pidfd, number)
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
        self._record(name).unlink(missing_ok=True)

    def _record(self, name: str) -> Path:
        return self._records / f"{name}.pid"


def _end(pidfd: int, number: signal.Signals) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        for each in (number, signal.SIGKILL):
            signal.pidfd_send_signal(pidfd, each)
            if poll.poll(STOP_WITHIN_S * 1000):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _start_time(pid: int) -> str | None:
    """In clock ticks since the machine's start (proc(5), stat, field 22); None: a zombie or gone.

    The command before it may hold spaces and parentheses: fields are counted from the last one.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]

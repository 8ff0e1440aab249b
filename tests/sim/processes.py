"""Processes that a test started, and what they started in turn: found by a mark, ended by pidfd."""

import os
import select
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Final

MARK: Final = "RBLN_SIM_RUN"
"""A variable in the environment of all of them; a fork inherits it, whoever its parent is later."""


def marked(value: str) -> tuple[int, ...]:
    """The living processes whose environment says MARK=value; zombies have none."""
    wanted = f"{MARK}={value}".encode()
    return tuple(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and wanted in _environment(entry).split(b"\0")
    )


def name_of(pid: int) -> str:
    """What a process calls itself; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def has_ended(pid: int, deadline_s: float) -> bool:
    """Whether a process ends within a time."""
    return not _survivors((pid,), deadline_s)


def survivors(pids: Iterable[int], deadline_s: float) -> tuple[int, ...]:
    """Those that still live when all have ended or the time is over."""
    return _survivors(tuple(pids), deadline_s)


def kill(pids: Iterable[int], deadline_s: float = 5.0) -> None:
    """End processes at once and wait until they have."""
    for pid in (pids := tuple(pids)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    left = _survivors(pids, deadline_s)
    assert not left, f"SIGKILL did not end {left}"


def _survivors(pids: tuple[int, ...], deadline_s: float) -> tuple[int, ...]:
    end = monotonic() + deadline_s
    with ExitStack() as stack:
        living: dict[int, int] = {}
        poll = select.poll()
        for pid in pids:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, pidfd)
            living[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
        while living and (left_s := end - monotonic()) > 0:
            for pidfd, _ in poll.poll(left_s * 1000):
                poll.unregister(pidfd)
                del living[pidfd]
        return tuple(living.values())


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""

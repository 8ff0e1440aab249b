"""Limits of the kernel for our processes (proc(5)): the running ones, not those of a host root."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inotify_simple import INotify

from rbln_supervisor.core.doctor.facts import Limits, Process
from rbln_supervisor.doctor.folders import run_dir as examined

_PROC: Final = Path("/proc")
_FILES: Final = re.compile(r"^Max open files\s+(?P<soft>[0-9]+|unlimited)", re.MULTILINE)


def examine_limits(run_dir: Path) -> Limits:
    """Return descriptors of our processes, and inotify instances of this user."""
    folder = examined(run_dir, "")
    named = {pid: f"worker of {pool}" for pool, pid in folder.serving.items() if pid}
    if folder.locked and folder.pid:
        named[folder.pid] = "rbln-supervisor"
    error = ""
    try:
        INotify().close()
    except OSError as failed:
        error = failed.strerror or str(failed)
    return Limits(
        processes=tuple(_process_limits(named)),
        inotify_instances=_count_instances(),
        inotify_instances_most=_read_number("sys/fs/inotify/max_user_instances"),
        inotify_watches_most=_read_number("sys/fs/inotify/max_user_watches"),
        inotify_error=error,
    )


def _process_limits(named: dict[int, str]) -> Iterator[Process]:
    for pid, name in sorted(named.items()):
        try:
            open_now = len(os.listdir(_PROC / f"{pid}/fd"))  # noqa: PTH208 - names only
            most = _FILES.search((_PROC / f"{pid}/limits").read_text())
        except OSError:  # it has ended, or belongs to another user
            continue
        soft = most["soft"] if most else "unlimited"
        yield Process(pid, name, open_now, int(soft) if soft.isdigit() else 0)


def _count_instances() -> int:
    """Return the number of this user's inotify instances, as far as they are visible."""
    count = 0
    for process in _PROC.iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid != os.geteuid():
                continue
            for descriptor in os.scandir(process / "fd"):
                count += os.readlink(descriptor) == "anon_inode:inotify"  # noqa: PTH115 - an entry
        except OSError:  # it has ended, or a descriptor was closed
            continue
    return count


def _read_number(path: str) -> int:
    try:
        return int((_PROC / path).read_text())
    except (OSError, ValueError):
        return 0

"""Sources of the agent: the files of events, and the supervisor's status."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.events.occurrences import PROBLEM_REASONS, Occurrence
from rbln_supervisor.core.events.series import EventSubject
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import request_reply
from rbln_supervisor.ctl.command import CommandError
from rbln_supervisor.events.log import event_files
from rbln_worker.contract.events import Event
from rbln_worker.contract.problem import Code, Problem
from rbln_worker.process.event_file import EventReader, previous_file

STATUS_TIMEOUT_S: Final = 2.0
Holders = Mapping[tuple[str, str], tuple[EventSubject, ...]]


class EventSource:
    """The files of events of a node, read from where an earlier agent stopped."""

    def __init__(self, run_dir: Path, positions: Mapping[str, int]) -> None:
        self._run_dir = run_dir
        self._reader = EventReader()
        self._reader.positions.update(
            {_parse_key(key): max(position, 0) for key, position in positions.items()}
        )
        self._sizes: dict[Path, tuple[int, int]] = {}

    def has_news(self) -> bool:
        """Return True if a file has changed since the last reading."""
        return self._file_sizes() != self._sizes

    def read_new(self) -> list[Event]:
        """Return the events that were not read yet, by time."""
        self._sizes = self._file_sizes()
        new = [event for path in self._sizes for event in self._reader.read_new(path)]
        return sorted(new, key=lambda event: event.at)

    def positions(self) -> dict[str, int]:
        """Return the positions in the files that exist, for the next agent."""
        known = set()
        for path in self._sizes:
            for one in (path, previous_file(path)):
                try:
                    status = one.stat()
                except OSError:
                    continue
                known.add((status.st_dev, status.st_ino))
        return {
            f"{device}:{inode}": position
            for (device, inode), position in self._reader.positions.items()
            if (device, inode) in known
        }

    def _file_sizes(self) -> dict[Path, tuple[int, int]]:
        sizes = {}
        try:
            paths = event_files(self._run_dir)
        except OSError:  # no supervisor has started yet
            return {}
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue
            sizes[path] = (status.st_ino, status.st_size)
        return sizes


def request_status(run_dir: Path) -> NodeStatus | None:
    """Return the supervisor's status, None without a reply. Blocks for up to STATUS_TIMEOUT_S."""
    try:
        return request_reply(run_dir, Status(), StatusReply, timeout_s=STATUS_TIMEOUT_S).status
    except CommandError:
        return None


def device_holders(status: NodeStatus) -> Holders:
    """Return the pods that hold devices, by pool and device."""
    return {
        (pool, device): tuple(
            EventSubject("Pod", pod.pod, pod.namespace, pod.uid) for pod in one.pods if pod.pod
        )
        for pool, its in status.pools.items()
        for device, one in its.devices.items()
    }


def new_problems(
    problems: Iterable[Problem], known: Iterable[str], now: float
) -> tuple[tuple[Occurrence, ...], tuple[str, ...]]:
    """Return occurrences for new problems that no file has, and the keys of all present ones.

    An examination that is incomplete forgets none of the known ones.
    """
    problems = tuple(problems)
    known = frozenset(known)
    present = {
        f"{problem.code} {problem.subject}": Occurrence(
            now, reason, text="; ".join((f"{problem.subject}: {problem.text}", *problem.evidence))
        )
        for problem in problems
        if (reason := PROBLEM_REASONS.get(problem.code)) is not None
    }
    new = tuple(one for key, one in present.items() if key not in known)
    if any(one.code in {Code.CHECK_FAILED, Code.CHECK_TIMED_OUT} for one in problems):
        return new, tuple(sorted(known | present.keys()))
    return new, tuple(sorted(present))


def _parse_key(key: str) -> tuple[int, int]:
    device, _, inode = key.partition(":")
    return (int(device), int(inode)) if device.isdecimal() and inode.isdecimal() else (0, 0)

"""The exit record of a worker, and the removal of the sockets that it left."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.messages import Report
from rbln_worker.host.sockets import remove_if_dead, remove_stale_sockets
from rbln_worker.spec import WorkerSpec

_TAIL_LINES: Final = 50
"""Enough for a fault's whole traceback and some log lines before it."""
_TAIL_BYTES: Final = 8192


class ExitRecord(msgspec.Struct, frozen=True):
    """The exit status of a worker, its time, and the last log lines."""

    how: str
    at: float
    """Monotonic seconds."""
    last_log: tuple[str, ...]


def remove_stale_socket(spec: WorkerSpec, report: Report | None) -> None:
    """Remove the socket that a killed worker left: the kubelet would keep dialing it."""
    if report is None or not is_name(report.endpoint):
        return
    for way, folder in spec.kubelet_dirs.by_registration.items():
        if way == report.registration:
            remove_if_dead(folder / report.endpoint)


def clear_dead_sockets(spec: WorkerSpec) -> None:
    """Remove the pool's sockets without a listener, whichever process made them."""
    for folder in spec.kubelet_dirs.by_registration.values():
        remove_stale_sockets(folder, spec.file_stem, datetime.now(UTC).timestamp())


def is_name(endpoint: str) -> bool:
    """Return True if a worker's endpoint is a plain file name, without a path."""
    return endpoint not in {"", ".", ".."} and "/" not in endpoint and "\0" not in endpoint


def last_lines(path: Path) -> tuple[str, ...]:
    """Return the last lines of a worker's log file; none if it can't be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(lines[-_TAIL_LINES:])

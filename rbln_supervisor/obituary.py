"""The end of a worker's life: what is remembered of it, and what it left lying about."""

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from rbln_worker.boot import Boot
from rbln_worker.contract.messages import Report
from rbln_worker.host.sockets import remove_dead, sweep

_TAIL_LINES: Final = 50
"""A fault's whole trace and what was logged before it."""
_TAIL_BYTES: Final = 8192


class Obituary(msgspec.Struct, frozen=True):
    """How a life ended."""

    how: str
    at: float
    """Monotonic seconds."""
    last_log: tuple[str, ...]


def obituary(boot: Boot, how: str) -> Obituary:
    """Of a life that has just ended."""
    return Obituary(how, monotonic(), _tail(boot.tail_path))


def clear_socket(boot: Boot, report: Report | None) -> None:
    """Remove the socket that a killed worker leaves: the kubelet would go on dialing it."""
    if report is None or not is_name(report.endpoint):
        return
    for way, folder in boot.kubelet_dirs.by_registration.items():
        if way == report.registration:
            remove_dead(folder / report.endpoint)


def clear_dead_sockets(boot: Boot) -> None:
    """Remove the pool's sockets on which nobody listens, whoever made them."""
    for folder in boot.kubelet_dirs.by_registration.values():
        sweep(folder, boot.stem, datetime.now(UTC).timestamp())


def is_name(endpoint: str) -> bool:
    """Whether a worker's word is the name of a file in its folder, and of none elsewhere."""
    return endpoint not in {"", ".", ".."} and "/" not in endpoint and "\0" not in endpoint


def _tail(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(lines[-_TAIL_LINES:])

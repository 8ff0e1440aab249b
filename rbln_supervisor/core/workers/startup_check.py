"""The check that the pools which a reload starts come up, so that the reload is kept."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_worker.contract.pool import PoolName

STARTUP_TIMEOUT_S: Final = 10.0
"""Maximum time for the first worker of a new pool to send its hello and a report (seconds)."""


class WorkerStart(msgspec.Struct, frozen=True):
    """Progress of a pool's first worker."""

    pool: PoolName
    is_up: bool
    """True if it has sent its hello and a report with any content: there may be no kubelet."""
    has_died: bool = False
    """True if it has ended, or could not be started."""
    how: str = ""
    """Text that describes how it ended."""
    last_line: str = ""
    """Its last log line."""


def startup_failures(starts: Iterable[WorkerStart], *, is_overdue: bool) -> tuple[str, ...]:
    """Return a line for each pool that could not start."""
    return tuple(
        _failure_line(birth)
        for birth in starts
        if birth.has_died or (is_overdue and not birth.is_up)
    )


def _failure_line(start: WorkerStart) -> str:
    how = start.how if start.has_died else f"its worker said nothing within {STARTUP_TIMEOUT_S:g} s"
    words = f"{start.pool} could not start: {how or 'its worker ended'}"
    return f"{words}, its last log line: {start.last_line}" if start.last_line else words

"""Detects any change of the configuration file, and waits until it is stable.

Without inotify the file is read at intervals.
"""

import errno
import math
from pathlib import Path
from typing import Final

from rbln_supervisor.core.discovery.debounce import Debounce
from rbln_worker.host.inotify import PathWatch

RETRY_INTERVAL_S: Final = 10.0
"""Interval between two reads of a file that can't be watched (seconds)."""
_LIMITS: Final = {
    errno.EMFILE: "no inotify instance is left, raise fs.inotify.max_user_instances",
    errno.ENOSPC: "no inotify watch is left, raise fs.inotify.max_user_watches",
}


class ConfigWatch:
    """The watch of one file. ``process_events`` never waits."""

    def __init__(self, path: Path, now: float) -> None:
        """Watch ``path``. The first read is due soon, for earlier changes."""
        self._path = path
        self._retry_at = math.inf
        self._debounce = Debounce().note_change(now)
        self._watch: PathWatch | None = None
        self.problem: str | None = None
        """Reason why changes are detected late, with a remedy; None if they are detected at
        once."""
        self._renew_watches(now)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``process_events`` has work."""
        return (self._watch.fileno(),) if self._watch else ()

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``process_events`` (monotonic seconds)."""
        return min(self._debounce.settles_at, self._retry_at)

    def process_events(self, now: float) -> bool:
        """Handle inotify events. Return True if the file is to be read now."""
        changed = self._watch is not None and bool(self._watch.drain())
        if changed or now >= self._retry_at:
            self._debounce = self._debounce.note_change(now)
            self._renew_watches(now)
        if now < self._debounce.settles_at:
            return False
        self._debounce = Debounce()
        self._renew_watches(now)  # a path that changed while it was read may have caused no event
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._watch:
            self._watch.close()
        self._watch = None
        self._debounce, self._retry_at = Debounce(), math.inf

    def _renew_watches(self, now: float) -> None:
        failure: OSError | None
        try:
            if self._watch is None:
                self._watch = PathWatch((self._path,))
            else:
                self._watch.renew_watches()
            failure = self._watch.failure
        except OSError as error:
            failure = error
        if failure is None:
            self.problem, self._retry_at = None, math.inf
            return
        limit = _LIMITS.get(failure.errno or 0, failure.strerror)
        self.problem = (
            f"changes of {self._path} are noticed within {RETRY_INTERVAL_S:g} s only ({limit}); "
            "rbln-ctl reload reads it at once"
        )
        self._retry_at = now + RETRY_INTERVAL_S

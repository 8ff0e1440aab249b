"""What the kubelet did and when, by its own log: finer than the node's status, and from inside.

The words are those of Kubernetes 1.34 and 1.37 (pkg/kubelet/cm/devicemanager: manager.go, and
plugin/v1beta1/server.go, handler.go, client.go).
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

SERVES: Final = "Starting device plugin registration server"
CALLED: Final = "Got registration request from device plugin with resource"
FOUND: Final = "Registering plugin at endpoint"
LISTED: Final = "State pushed for device plugin"
DARK: Final = "Mark all resources Unhealthy for resource"
ADMITS: Final = '"SyncLoop ADD" source="api"'

_LINE: Final = re.compile(r"[IWEF](\d{4} [\d:.]{15}) +\d+ \S+\] (.*)")


class Entry(NamedTuple):
    """A line."""

    at: float
    """Seconds of wall clock time."""
    text: str


class KubeletLog:
    """The log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def entries(self, *words: str) -> Iterator[Entry]:
        """The lines that have all of these words, in order."""
        year = datetime.now(UTC).year
        with self._path.open(errors="replace") as file:
            file.seek(self._offset)
            for line in file:
                found = _LINE.match(line)
                if found and all(word in found[2] for word in words):
                    when = datetime.strptime(f"{year}{found[1]} +0000", "%Y%m%d %H:%M:%S.%f %z")
                    yield Entry(when.timestamp(), found[2])

    def first(self, *words: str) -> float:
        """When the first line with these words was written (wall clock); AssertionError."""
        entry = next(self.entries(*words), None)
        assert entry is not None, f"the kubelet's log has no line with {words}"
        return entry.at

    def seconds_since(self, *words: str) -> float:
        """How long ago the first line with these words was written; AssertionError."""
        return datetime.now(UTC).timestamp() - self.first(*words)

    def dark_seconds(self, resource: str) -> tuple[float, ...]:
        """How long a resource had no healthy device, each time that its stream ended."""
        spells: list[float] = []
        since: float | None = None
        for entry in self.entries(resource):
            if DARK in entry.text:
                since = entry.at
            elif LISTED in entry.text and since is not None:
                spells.append(entry.at - since)
                since = None
        assert since is None, f"{resource} is not listed again"
        return tuple(spells)

"""Reads of a device's files in sysfs and /dev: a worker does them, because they can hang."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from rbln_worker.core.allocation.host_facts import (
    DirEntries,
    Exists,
    Fact,
    FirstBytes,
    HostFacts,
    HostFile,
    LinkPerEntry,
    LinkTarget,
    Need,
    Text,
    TextPerEntry,
    Unread,
)
from rbln_worker.host import nodes
from rbln_worker.spec import below_root

HOST_FILES: Final = "/host"
"""The folder where the manifests mount the host's /usr in the container."""
_FILE_BYTES: Final = 65536
"""Maximum number of bytes that are read of a file; sysfs returns a page."""


class Reader:
    """The reads of one health check: a file that several devices need is read once."""

    def __init__(self, root: Path, *, host_visible: bool) -> None:
        """Read below ``root``.

        ``host_visible``: True if the host's own files are there, too; otherwise the manifests mount
        some of them below HOST_FILES in the container.
        """
        self._root = str(root).rstrip("/")
        self._host_visible = host_visible
        # Shared by threads, without a lock: two concurrent reads of the same file are harmless.
        self._read: dict[Need, Fact] = {}
        self._nodes: dict[str, str] = {}
        """Problems by the path of a node; several devices share some nodes."""
        self._real: bool | None = None

    def read_facts(self, needs: Iterable[Need]) -> HostFacts:
        """Read all facts; may block."""
        return HostFacts({need: self.read_fact(need) for need in needs})

    def read_fact(self, need: Need) -> Fact:
        """Read one fact; may block."""
        known = self._read.get(need)
        if known is None:
            known = self._read[need] = self._read_from_host(need)
        return known

    def missing_nodes(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the device nodes that do not exist on the host."""
        return tuple(path for path in paths if self._node_problem(path) == nodes.MISSING)

    def node_problems(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the problems of existing nodes, each with its path."""
        faults = ((path, self._node_problem(path)) for path in paths)
        return tuple(f"{path} {why}" for path, why in faults if why not in {"", nodes.MISSING})

    def _node_problem(self, path: str) -> str:
        if self._real is None:
            self._real = nodes.is_real(self._root)
        known = self._nodes.get(path)
        if known is None:
            known = self._nodes[path] = nodes.node_problem(self._root, path, real=self._real)
        return known

    def _read_from_host(self, need: Need) -> Fact:  # noqa: PLR0911 - a line for each kind of need
        try:
            match need:
                case Text(path):
                    return self._read_text(path)
                case FirstBytes(path, size):
                    return self._read_bytes(path, size)
                case LinkTarget(path):
                    return self._read_link(path)
                case DirEntries(path):
                    return tuple(sorted(os.listdir(f"{self._root}{path}")))
                case TextPerEntry(folder, file):
                    return self._read_entries(folder, lambda one: self._read_text(f"{one}/{file}"))
                case Exists(path):
                    return os.path.exists(f"{self._root}{path}")
                case HostFile(path):
                    return self._is_host_file(path)
                case LinkPerEntry(folder, name):
                    return self._read_entries(folder, lambda one: self._read_link(f"{one}/{name}"))
        except OSError as error:
            place = need.folder if isinstance(need, TextPerEntry | LinkPerEntry) else need.path
            absent = isinstance(error, FileNotFoundError | NotADirectoryError)
            return Unread(f"{place}: {error.strerror}", absent=absent)

    def _read_link(self, path: str) -> str:
        return os.path.basename(os.readlink(f"{self._root}{path}"))

    def _is_host_file(self, path: str) -> bool:
        root = Path(f"{self._root}{'' if self._host_visible else HOST_FILES}" or "/")
        try:
            return stat.S_ISREG(os.stat(below_root(root, path)).st_mode)
        except FileNotFoundError:
            return False

    def _read_text(self, path: str) -> str:
        return self._read_bytes(path, _FILE_BYTES).decode(errors="replace")

    def _read_bytes(self, path: str, size: int) -> bytes:
        # Python's file objects cost three times as much, and read more than requested.
        descriptor = os.open(f"{self._root}{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            read = os.read(descriptor, size)
            while 0 < len(read) < size and (more := os.read(descriptor, size - len(read))):
                read += more
            return read
        finally:
            os.close(descriptor)

    def _read_entries(self, folder: str, read: Callable[[str], str]) -> Mapping[str, str]:
        """Return a text for each entry of a folder; without those that have none."""
        found: dict[str, str] = {}
        try:
            entries = sorted(os.listdir(f"{self._root}{folder}"))
        except OSError:
            return found
        for entry in entries:
            with contextlib.suppress(OSError):  # it has no such file, or was removed meanwhile
                found[entry] = read(f"{folder}/{entry}")
        return found

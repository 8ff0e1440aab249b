"""The kubelet's plugin watcher: sockets of a folder, found by inotify.

Kubernetes: pkg/kubelet/pluginmanager/pluginwatcher. What is there at the start is found too; names
that begin with a dot and what is no socket are ignored.
"""

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import inotify_simple

from tests.sim.files import Identity, identity

_APPEARED: Final = inotify_simple.flags.CREATE | inotify_simple.flags.MOVED_TO
_LEFT: Final = inotify_simple.flags.DELETE | inotify_simple.flags.MOVED_FROM

Found = Callable[[Path, threading.Event], None]
"""A socket, and an event that is set when it is gone; called in a thread of its own."""


class PluginWatcher:
    """Watches a folder in a thread until it is closed."""

    def __init__(self, folder: Path, found: Found) -> None:
        self._folder = folder
        self._found = found
        self._known: dict[str, tuple[Identity, threading.Event]] = {}
        self._threads: list[threading.Thread] = []
        self._woken = os.eventfd(0)
        self._inotify = inotify_simple.INotify()
        self._inotify.add_watch(folder, _APPEARED | _LEFT)
        self._thread = threading.Thread(target=self._run, name="plugin watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch and wait for whoever was called."""
        os.eventfd_write(self._woken, 1)
        self._thread.join()
        for _, gone in self._known.values():
            gone.set()
        for thread in self._threads:
            thread.join()
        self._inotify.close()
        os.close(self._woken)

    def _run(self) -> None:
        for entry in sorted(self._folder.iterdir()):
            self._look_at(entry.name)
        poll = select.poll()
        poll.register(self._inotify.fileno(), select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while self._woken not in dict(poll.poll()):
            for event in self._inotify.read(timeout=0):
                if event.mask & _LEFT:
                    self._forget(event.name)
                else:
                    self._look_at(event.name)

    def _look_at(self, name: str) -> None:
        if name.startswith("."):
            return
        path = self._folder / name
        file = identity(path)
        if file is None or not path.is_socket() or self._knows(name, file):
            return
        self._forget(name)
        gone = threading.Event()
        self._known[name] = (file, gone)
        thread = threading.Thread(
            target=self._found, args=(path, gone), name=f"found {name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _knows(self, name: str, file: Identity) -> bool:
        return name in self._known and self._known[name][0] == file

    def _forget(self, name: str) -> None:
        if name in self._known:
            _, gone = self._known.pop(name)
            gone.set()

"""The kubelet's plugin watcher: sockets of a folder, found by inotify.

Kubernetes: pkg/kubelet/pluginmanager/pluginwatcher. What is there at the start is found too; names
that begin with a dot and what is no socket are ignored. What came and went is acted on in turns:
first what left, then what came.
"""

import itertools
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import inotify_simple

from tests.sim.files import Identity, identity

_APPEARED: Final = inotify_simple.flags.CREATE | inotify_simple.flags.MOVED_TO
_LEFT: Final = inotify_simple.flags.DELETE | inotify_simple.flags.MOVED_FROM

Found = Callable[[Path, threading.Event], None]
"""A socket, and an event that is set when it is gone; called in a thread of its own."""


class PluginWatcher:
    """Watches a folder in a thread until it is closed."""

    def __init__(self, folder: Path, found: Found, turn_s: float) -> None:
        """``turn_s``: from turn to turn; 0: at once."""
        self._turn_s = turn_s
        self._began = monotonic()
        self._wanted: dict[str, Identity] = {}
        """Sockets by name, as far as inotify told; ``_known`` are those that were acted on."""
        self._folder = folder
        self._found = found
        self._known: dict[str, tuple[Identity, threading.Event]] = {}
        self._threads: dict[str, list[threading.Thread]] = {}
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
        for thread in itertools.chain(*self._threads.values()):
            thread.join()
        self._inotify.close()
        os.close(self._woken)

    def _run(self) -> None:
        for entry in self._folder.iterdir():
            self._look_at(entry.name)
        poll = select.poll()
        poll.register(self._inotify.fileno(), select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        due: float | None = self._began
        while True:
            left_ms = None if due is None else max(0.0, due - monotonic()) * 1000
            ready = dict(poll.poll(left_ms))
            if self._woken in ready:
                return
            if self._inotify.fileno() in ready:
                for event in self._inotify.read(timeout=0):
                    if event.mask & _LEFT:
                        self._wanted.pop(event.name, None)
                    else:
                        self._look_at(event.name)
                due = self._next_turn() if due is None else due
            if due is not None and monotonic() >= due:
                self._act()
                due = None

    def _next_turn(self) -> float:
        now = monotonic()
        if not self._turn_s:
            return now
        return now + self._turn_s - (now - self._began) % self._turn_s

    def _look_at(self, name: str) -> None:
        path = self._folder / name
        file = identity(path)
        if not name.startswith(".") and file is not None and path.is_socket():
            self._wanted[name] = file

    def _act(self) -> None:
        for name, (file, gone) in tuple(self._known.items()):
            if self._wanted.get(name) != file:
                del self._known[name]
                gone.set()
        for name in sorted(self._wanted.keys() - self._known.keys()):
            gone = threading.Event()
            self._known[name] = (self._wanted[name], gone)
            earlier = self._threads.setdefault(name, [])
            thread = threading.Thread(
                target=self._register,
                args=(tuple(earlier), self._folder / name, gone),
                name=f"found {name}",
                daemon=True,
            )
            earlier.append(thread)
            thread.start()

    def _register(
        self, earlier: tuple[threading.Thread, ...], socket: Path, gone: threading.Event
    ) -> None:
        """One operation a path at a time, as the kubelet's operation executor has it."""
        for thread in earlier:
            thread.join()
        self._found(socket, gone)

"""A device plugin's command in an arena, started again whenever it ends, as an init system does."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self

from tests.bench.arena import Arena
from tests.bench.roll import Roll
from tests.sim import processes

_LINES_TOLD: Final = 8
_RESTARTS_MOST: Final = 50
"""In one life of the bench's init; who ends more often is not waited for."""
_LOOK_S: Final = 0.2
"""How often a wait for the kubelet looks whether the plugin has ended."""
_STOP_S: Final = 10.0


class Failed(Exception):
    """A plugin does not do what has to be measured; the text says what, and its last lines."""


class Plugin:
    """Runs from ``with`` to the end of the block; it is started by ``start``."""

    def __init__(self, arena: Arena, roll: Roll, command: Sequence[object], name: str) -> None:
        self.arena = arena
        self.name = name
        self._roll = roll
        self._command = arena.inside(command)
        self._log = arena.home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._init: threading.Thread | None = None
        self._restarts_left = 0
        self._code: int | None = None
        """With which it ended and was not started again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restarts_left = 0
        if self._process is None or self._init is None:
            return
        main = self.arena.child_of(self._process.pid)
        if main is not None:
            os.kill(main, signal.SIGTERM)
        processes.kill(processes.survivors(self.arena.processes(), _STOP_S))
        while self._init.is_alive():  # it was starting one that was not there yet
            processes.kill(self.arena.processes())
            self._init.join(_LOOK_S)

    def start(self, devices: int, patience_s: float) -> float:
        """Seconds until the kubelet has listed so many devices; Failed."""
        self._code = None
        began = monotonic()
        self._process = self._spawn()
        self._init = threading.Thread(target=self._keep, name="init", daemon=True)
        self._init.start()
        seconds = self.listed_s(devices, began, patience_s)
        if seconds is None:
            seen = self.arena.kubelet.resources
            raise Failed(
                f"{self.name}: {self._roll.healthy()} of {devices} devices are listed after "
                f"{patience_s:g} s ({len(seen)} resources are registered){self._last_lines()}"
            )
        self._restarts_left = _RESTARTS_MOST
        return seconds

    def listed_s(self, devices: int, since: float, patience_s: float) -> float | None:
        """Seconds from ``since`` to the message by which so many are listed; None: never."""
        return self._wait(lambda: self._roll.healthy() == devices, since, patience_s)

    def killed_s(self, resource: str, devices: int, patience_s: float) -> float | None:
        """Kill the process that serves a resource; seconds until all is listed by a new stream."""
        endpoint, streams = (
            self.arena.kubelet.resource(resource).endpoint,
            self._roll.streams(resource),
        )
        assert endpoint is not None
        began = monotonic()
        os.kill(self.arena.serving(endpoint), signal.SIGKILL)

        def again() -> bool:
            return self._roll.streams(resource) > streams and self._roll.healthy() == devices

        return self._wait(again, began, patience_s)

    def message_s(self, resource: str, count: int, since: float, patience_s: float) -> float | None:
        """Seconds from ``since`` to the message by which a resource has so many; None: never."""
        return self._wait(lambda: self._roll.healthy(resource) == count, since, patience_s)

    def _wait(self, condition: Callable[[], bool], since: float, patience_s: float) -> float | None:
        end = monotonic() + patience_s
        while (left_s := end - monotonic()) > 0:
            if self.arena.kubelet.comes(lambda _: condition(), min(left_s, _LOOK_S)):
                return self._roll.last_at - since
            if self._code is not None:
                raise Failed(f"{self.name} ended with exit code {self._code}{self._last_lines()}")
        return None

    def _keep(self) -> None:
        """The init thread: nothing else may wait for the process, or it would not be prompt."""
        while True:
            assert self._process is not None
            code = self._process.wait()
            if not self._restarts_left:
                self._code = code
                return
            self._restarts_left -= 1
            self._process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_LINES_TOLD:]
        return "".join(["; its last lines:", *(f"\n  {line}" for line in lines)] if lines else [])

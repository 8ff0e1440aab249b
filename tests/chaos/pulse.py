"""Asks the supervisor for its status all the time: its loop never blocks."""

import threading
from time import monotonic
from typing import Final, NamedTuple

from rbln_supervisor.core.control.protocol import Status
from rbln_supervisor.ctl.client import UnreachableError, send_request
from tests.sim.stack import Stack

PAUSE_S: Final = 0.1


class Silence(NamedTuple):
    """A question without an answer."""

    at: float
    why: str


class Pulse:
    """A thread that asks, from ``with`` to the end of the block."""

    def __init__(self, stack: Stack) -> None:
        self._run_dir = stack.run_dir
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._away = 0
        self._epoch = 0
        self.slowest_s = 0.0
        self.slowest_at = 0.0
        self.asked = 0
        self.silences: list[Silence] = []
        """While it should have answered."""
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def expect_silence(self) -> None:
        """The supervisor is about to be stopped or to die."""
        with self._lock:
            self._away += 1
            self._epoch += 1

    def expect_answers(self) -> None:
        """It is there again."""
        with self._lock:
            self._away -= 1

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            with self._lock:
                away, epoch = self._away, self._epoch
            if away:
                continue
            began = monotonic()
            why = ""
            try:
                send_request(self._run_dir, Status())
            except UnreachableError as error:
                why = str(error)
            took_s = monotonic() - began
            with self._lock:
                if self._away or self._epoch != epoch:
                    continue
            self.asked += 1
            if why:
                self.silences.append(Silence(began, why))
            elif took_s > self.slowest_s:
                self.slowest_s, self.slowest_at = took_s, began

"""Tells the program that started us how we are, if it asks: sd_notify(3), a datagram a notice.

systemd asks by NOTIFY_SOCKET, and by WATCHDOG_USEC for a sign of life. The signs come from the
loop, so that they end when it hangs; systemd then ends this process and starts the next one, and
the workers live on. No variable is left for the processes that we start: they are not asked.
"""

import logging
import math
import os
import socket
from collections.abc import Callable, MutableMapping
from time import monotonic
from typing import Final

from rbln_supervisor.core.notices import Facts, Said, notices

STATUS_EVERY_S: Final = 5.0
"""How old what is told may be."""
STARTING_EVERY_S: Final = 0.05
"""The same before the start is over, which somebody waits for."""
_SIGNS: Final = 3
"""In one interval of the watchdog: a turn of the loop may take a while."""

log = logging.getLogger(__name__)


class Announcer:
    """Where to tell, what was told, and when to tell more. It never waits."""

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        """``address``: a path, or ``@`` and an abstract name (unix(7)); empty: nobody asks."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._sign_every_s = math.inf if watchdog_s is None else watchdog_s / _SIGNS
        self._said = Said()
        self._born = monotonic()
        self._look_at = self._born if address else math.inf
        self._sign_at = self._born if address and watchdog_s is not None else math.inf
        self._problem = ""

    @property
    def due(self) -> float:
        """When ``turn`` has to be called at the latest (monotonic seconds)."""
        return min(self._look_at, self._sign_at)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why nothing can be told."""
        return (self._problem,) if self._problem else ()

    def turn(self, facts: Callable[[], Facts], *, at_once: bool = False) -> None:
        """Tell what is due; ``at_once``: something has changed that is not to be kept back."""
        now = monotonic()
        if now >= self._sign_at:
            self._sign_at = now + self._sign_every_s
            self._tell("WATCHDOG=1")
        if now < self._look_at and not (at_once and self._look_at < math.inf):
            return
        told, texts = notices(self._said, facts(), now - self._born, int(now * 1_000_000))
        # Before the start is over this is a look at something that changes every few milliseconds.
        self._look_at = now + (STATUS_EVERY_S if told.ready else STARTING_EVERY_S)
        if all(self._tell(text) for text in texts):
            self._said = told

    def _tell(self, text: str) -> bool:
        """Whether it was taken; what was not is told again with the next notice."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(0)
                to.sendto(text.encode(), self._address)
        except OSError as error:
            problem = f"systemd can't be told how we are (NOTIFY_SOCKET): {error.strerror or error}"
            if problem != self._problem:
                log.warning(problem)
            self._problem = problem
            return False
        self._problem = ""
        return True


def announcer(environment: MutableMapping[str, str]) -> Announcer:
    """What the environment asks for, and take it out (sd_notify(3), sd_watchdog_enabled(3))."""
    address = environment.pop("NOTIFY_SOCKET", "")
    interval = environment.pop("WATCHDOG_USEC", "")
    whom = environment.pop("WATCHDOG_PID", "")
    if address and (address[0] not in "/@" or len(address) < 2):
        log.warning("NOTIFY_SOCKET is no path and no abstract name", extra={"address": address})
        address = ""
    if interval and not (interval.isascii() and interval.isdigit() and int(interval[:18]) > 0):
        log.warning("WATCHDOG_USEC is no number of microseconds", extra={"interval": interval})
        interval = ""
    meant = interval and whom in {"", str(os.getpid())}
    return Announcer(address, int(interval[:18]) / 1_000_000 if meant else None)

"""Reports of the supervisor's state to systemd, on its request, as datagrams of sd_notify(3).

systemd requests them with NOTIFY_SOCKET, and keep-alive messages with WATCHDOG_USEC. The loop sends
the keep-alive messages, so they stop when it hangs. systemd then ends this process and starts the
next one, and the workers live on. The variables are removed from the environment: they are not
meant for the processes that this one starts.
"""

import logging
import math
import os
import socket
from collections.abc import Callable, MutableMapping
from time import monotonic
from typing import Final

from rbln_supervisor.core.reporting.systemd import ServiceState, due_messages

STATUS_INTERVAL_S: Final = 5.0
"""Interval between two reports (seconds)."""
STARTING_INTERVAL_S: Final = 0.05
"""Interval before the start is complete, while somebody waits for it (seconds)."""
_SIGNS: Final = 3
"""Keep-alive messages in one watchdog interval: one loop iteration may take a while."""

log = logging.getLogger(__name__)


class SystemdNotifier:
    """A client of sd_notify(3), with the last state sent and the time of the next. Never waits."""

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        """``address``: a path, or ``@`` and an abstract name (unix(7)); empty: no reports."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_interval_s = math.inf if watchdog_s is None else watchdog_s / _SIGNS
        self._sent = ServiceState()
        self._started_at = monotonic()
        self._report_at = self._started_at if address else math.inf
        self._watchdog_at = self._started_at if address and watchdog_s is not None else math.inf
        self._problem = ""

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``send_due`` (monotonic seconds)."""
        return min(self._report_at, self._watchdog_at)

    def send_due(self, facts: Callable[[], ServiceState], *, at_once: bool = False) -> None:
        """Send what is due; with ``at_once`` also a change that must not be delayed."""
        now = monotonic()
        if now >= self._watchdog_at:
            self._watchdog_at = now + self._watchdog_interval_s
            self._send_datagram("WATCHDOG=1")
        if now < self._report_at and not (at_once and self._report_at < math.inf):
            return
        told, texts = due_messages(
            self._sent, facts(), now - self._started_at, int(now * 1_000_000)
        )
        # Before the start is complete, the facts change every few milliseconds.
        self._report_at = now + (STATUS_INTERVAL_S if told.ready else STARTING_INTERVAL_S)
        if all(self._send_datagram(text) for text in texts):
            self._sent = told

    def _send_datagram(self, text: str) -> bool:
        """Return True if the datagram was sent; otherwise the text is sent with the next report."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(0)
                to.sendto(text.encode(), self._address)
        except OSError as error:
            problem = f"no report to systemd (NOTIFY_SOCKET): {error.strerror or error}"
            if problem != self._problem:
                log.warning(problem)
            self._problem = problem
            return False
        self._problem = ""
        return True


def systemd_notifier(environment: MutableMapping[str, str]) -> SystemdNotifier:
    """Make the announcer that the environment asks for, and remove its variables.

    See sd_notify(3) and sd_watchdog_enabled(3).
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    interval = environment.pop("WATCHDOG_USEC", "")
    whom = environment.pop("WATCHDOG_PID", "")
    is_meant = interval.isdecimal() and whom in {"", str(os.getpid())}
    watchdog_s = int(interval[:18]) / 1_000_000 if is_meant else 0.0
    return SystemdNotifier(address, watchdog_s or None)

"""Kernel events: changes of devices (uevents) and of links (rtnetlink), read from sockets.

A uevent only causes a discovery, which reads the current state; a link that came up or went down is
in the message itself. If a socket can't be opened, or the kernel dropped messages because of a
burst, periodic or full discoveries detect all changes, later.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final, TypeVar

from rbln_supervisor.core.discovery import uevents
from rbln_supervisor.core.discovery.rate_limit import TokenBucket
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.device import Bdf
from rbln_worker.host.netlink.link_events import LinkSocket
from rbln_worker.host.netlink.uevent import UeventSocket

READ_MOST: Final = 2048
"""Maximum number of messages read of each socket in one iteration (some 10 µs each), so that an
event storm does not block the loop."""

S = TypeVar("S")

log = logging.getLogger(__name__)


class KernelEventListener:
    """A listener to kernel events that requests discoveries: soon, but one for many events."""

    def __init__(
        self,
        pools: Pools,
        look: Callable[[Iterable[Bdf | None], float], None],
        look_costs_s: Callable[[], float],
    ) -> None:
        """Open the sockets.

        Args:
            pools: the pools with the devices.
            look: requests a discovery of functions (None: of any); its second argument is the time
                of
                their first event (monotonic seconds).
            look_costs_s: returns the CPU seconds of the last discovery.
        """
        self._pools = pools
        self._look = look
        self._look_costs_s = look_costs_s
        self._looks = TokenBucket()
        self._relinks = TokenBucket()
        self._look_since = 0.0
        self._relink_since = 0.0
        """Time of the first event that was not handled yet, if one is pending (monotonic
        seconds)."""
        self._touched: set[Bdf | None] = set()
        self.problems: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()
        self._uevents = self._open(UeventSocket, "kernel uevents")
        self._links = self._open(LinkSocket, "link changes")

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``hear`` has work."""
        return tuple(one.fileno() for one in (self._uevents, self._links) if one is not None)

    @property
    def due(self) -> float | None:
        """Latest time of the next call of ``turn`` (monotonic seconds)."""
        dues = [due for due in (self._looks.due, self._relinks.due) if due is not None]
        return min(dues, default=None)

    def hear(self) -> None:
        """Read the pending messages of the kernel."""
        now = monotonic()
        if self._uevents is not None:
            try:
                self._hear_uevents(self._uevents, now)
            except OSError as error:
                self._uevents.close()
                self._uevents = None
                self._report("kernel uevents", error)
        if self._links is not None:
            try:
                self._hear_links(self._links, now)
            except OSError as error:
                self._links.close()
                self._links = None
                self._report("link changes", error)

    def turn(self) -> None:
        """Request the discoveries and link updates that are due."""
        now = monotonic()
        if self._looks.due is not None and now >= self._looks.due:
            self._looks = self._looks.acted(now, cost_s=self._look_costs_s())
            self._look(self._touched, self._look_since)
            self._pools.nudge(self._touched)
            self._touched = set()
        if self._relinks.due is not None and now >= self._relinks.due:
            self._relinks = self._relinks.acted(now)
            self._pools.relink(self._relink_since)

    def _hear_uevents(self, socket: UeventSocket, now: float) -> None:
        heard = socket.drain(READ_MOST)
        if heard.lost:
            self._missed("uevents", now)
        for event in heard.items:
            if uevents.is_relevant(event.subsystem, event.devpath):
                self.counts["kernel events about devices"] += 1
                self._touched.add(uevents.pci_function(event.devpath))
                self._want_look(now)

    def _hear_links(self, socket: LinkSocket, now: float) -> None:
        heard = socket.drain(READ_MOST)
        if heard.lost:
            self._missed("link changes", now)
        for change in heard.items:
            news = self._pools.hear_link(change.index, change.state)
            if news.is_news:
                self.counts["link changes of devices"] += 1
                if self._relinks.due is None:
                    self._relink_since = now
                self._relinks = self._relinks.heard(now)
            if news.moved:
                self._touched |= news.moved
                self._want_look(now)

    def _missed(self, what: str, now: float) -> None:
        self.counts[f"times that {what} were lost"] += 1
        if None not in self._touched:
            log.info("the kernel dropped messages, everything is looked at", extra={"of": what})
        self._touched.add(None)
        self._want_look(now)

    def _want_look(self, now: float) -> None:
        if self._looks.due is None:
            self._look_since = now
        self._looks = self._looks.heard(now)

    def _open(self, kind: Callable[[], S], what: str) -> S | None:
        try:
            return kind()
        except OSError as error:
            self._report(what, error)
            return None

    def _report(self, what: str, error: OSError) -> None:
        said = f"{what} can't be heard ({error.strerror}): changes are seen by looks only"
        log.warning(said)
        self.problems = (*self.problems, said)

"""Kernel events: changes of devices (uevents) and of links (rtnetlink), read from sockets.

A uevent only causes a discovery, which reads the current state; a link that came up or went down is
in the message itself. If a socket can't be opened, or the kernel dropped messages because of a
burst, periodic or full discoveries detect all changes, later.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final, TypeVar

from rbln_supervisor.core.discovery import uevents
from rbln_supervisor.core.discovery.rate_limit import TokenBucket
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.host.netlink.link_events import LinkSocket
from rbln_worker.host.netlink.uevent import UeventSocket

MAX_MESSAGES_READ: Final = 2048
"""Maximum number of messages read of each socket in one iteration (some 10 µs each), so that an
event storm does not block the loop."""

S = TypeVar("S")

log = logging.getLogger(__name__)


class KernelEventListener:
    """A listener to kernel events that requests discoveries: soon, but one for many events."""

    def __init__(
        self,
        pools: Pools,
        request_discovery: Callable[[Iterable[Bdf | None], float], None],
        discovery_cost_s: Callable[[], float],
    ) -> None:
        """Open the sockets.

        Args:
            pools: the pools with the devices.
            request_discovery: requests a discovery of functions (None: of any); its second argument
                is the time of their first event (monotonic seconds).
            discovery_cost_s: returns the CPU seconds of the last discovery.
        """
        self._pools = pools
        self._request_discovery = request_discovery
        self._discovery_cost_s = discovery_cost_s
        self._discovery_bucket = TokenBucket()
        self._link_bucket = TokenBucket()
        self._discovery_since = 0.0
        self._links_since = 0.0
        """Time of the first event that was not handled yet, if one is pending (monotonic
        seconds)."""
        self._affected: set[Bdf | None] = set()
        self.problems: tuple[Problem, ...] = ()
        self.counts: Counter[CounterName] = Counter()
        self._uevents = self._open_socket(UeventSocket, "kernel uevents")
        self._links = self._open_socket(LinkSocket, "link changes")

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``read_events`` has work."""
        return tuple(one.fileno() for one in (self._uevents, self._links) if one is not None)

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``handle_due`` (monotonic seconds); infinity: none."""
        dues = (self._discovery_bucket.next_act_at, self._link_bucket.next_act_at)
        return min((due for due in dues if due is not None), default=math.inf)

    def read_events(self) -> None:
        """Read the pending messages of the kernel."""
        now = monotonic()
        if self._uevents is not None:
            try:
                self._read_uevents(self._uevents, now)
            except OSError as error:
                self._uevents.close()
                self._uevents = None
                self._report_failure("kernel uevents", error)
        if self._links is not None:
            try:
                self._read_links(self._links, now)
            except OSError as error:
                self._links.close()
                self._links = None
                self._report_failure("link changes", error)

    def handle_due(self) -> None:
        """Request the discoveries and link updates that are due."""
        now = monotonic()
        discovery_at, links_at = self._discovery_bucket.next_act_at, self._link_bucket.next_act_at
        if discovery_at is not None and now >= discovery_at:
            self._discovery_bucket = self._discovery_bucket.act_started(
                now, cost_s=self._discovery_cost_s()
            )
            self._request_discovery(self._affected, self._discovery_since)
            self._pools.request_check(self._affected)
            self._affected = set()
        if links_at is not None and now >= links_at:
            self._link_bucket = self._link_bucket.act_started(now)
            self._pools.propagate_links(self._links_since)

    def _read_uevents(self, socket: UeventSocket, now: float) -> None:
        heard = socket.drain(MAX_MESSAGES_READ)
        if heard.lost:
            self._messages_lost(CounterName.UEVENTS_LOST, now)
        for event in heard.items:
            if uevents.is_relevant(event.subsystem, event.devpath):
                self.counts[CounterName.UEVENTS] += 1
                self._affected.add(uevents.pci_function(event.devpath))
                self._schedule_discovery(now)

    def _read_links(self, socket: LinkSocket, now: float) -> None:
        heard = socket.drain(MAX_MESSAGES_READ)
        if heard.lost:
            self._messages_lost(CounterName.LINK_CHANGES_LOST, now)
        for change in heard.items:
            news = self._pools.on_link_event(change.index, change.state)
            if news.is_news:
                self.counts[CounterName.LINK_CHANGES] += 1
                if self._link_bucket.next_act_at is None:
                    self._links_since = now
                self._link_bucket = self._link_bucket.event_seen(now)
            if news.moved:
                self._affected |= news.moved
                self._schedule_discovery(now)

    def _messages_lost(self, what: CounterName, now: float) -> None:
        self.counts[what] += 1
        if None not in self._affected:
            log.info("the kernel dropped messages: a full discovery follows", extra={"of": what})
        self._affected.add(None)
        self._schedule_discovery(now)

    def _schedule_discovery(self, now: float) -> None:
        if self._discovery_bucket.next_act_at is None:
            self._discovery_since = now
        self._discovery_bucket = self._discovery_bucket.event_seen(now)

    def _open_socket(self, kind: Callable[[], S], what: str) -> S | None:
        try:
            return kind()
        except OSError as error:
            self._report_failure(what, error)
            return None

    def _report_failure(self, what: str, error: OSError) -> None:
        text = f"no {what} ({error.strerror}): only periodic discoveries detect changes"
        log.warning(text)
        problem = make_problem(Code.KERNEL_EVENTS_UNAVAILABLE, text, what)
        self.problems = (*self.problems, problem)

"""Kernel events: changes of devices (uevents) and of links (rtnetlink), read from sockets.

A uevent only causes a discovery, which reads the current state; a link that came up or went down is
in the message itself. If a socket can't be opened, or the kernel dropped messages because of a
burst, periodic or full discoveries detect all changes, later.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from rbln_supervisor.core.discovery import uevents
from rbln_supervisor.core.discovery.rate_limit import TokenBucket
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.host.netlink.link_events import LinkChange, LinkSocket
from rbln_worker.host.netlink.multicast import GroupSocket
from rbln_worker.host.netlink.uevent import Uevent, UeventSocket

MAX_MESSAGES_READ: Final = 2048
"""Maximum number of messages read of each socket in one iteration (some 10 µs each), so that an
event storm does not block the loop."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class _EventSource(NamedTuple):
    """A socket with kernel events."""

    what: str
    socket: GroupSocket[Any]
    lost: CounterName
    """The counter of losses."""
    handle: Callable[[Any, float], None]
    """Handles an event; the second argument is the time (monotonic seconds)."""


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
        self._affected: set[Bdf | None] = set()
        self.problems: tuple[Problem, ...] = ()
        self.counts: Counter[CounterName] = Counter()
        self._sources: list[_EventSource] = []
        self._open_source(
            "kernel uevents", UeventSocket, CounterName.UEVENTS_LOST, self._handle_uevent
        )
        self._open_source(
            "link changes", LinkSocket, CounterName.LINK_CHANGES_LOST, self._handle_link_change
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``read_events`` has work."""
        return tuple(one.socket.fileno() for one in self._sources)

    @property
    def next_deadline(self) -> float:
        """Latest time of the next call of ``handle_due`` (monotonic seconds); infinity: none."""
        return min(self._discovery_bucket.next_act_at, self._link_bucket.next_act_at)

    def read_events(self) -> None:
        """Read the pending messages of the kernel."""
        now = monotonic()
        for source in tuple(self._sources):
            try:
                received = source.socket.drain(MAX_MESSAGES_READ)
            except OSError as error:
                source.socket.close()
                self._sources.remove(source)
                self._report_failure(source.what, error)
                continue
            if received.lost:
                self._messages_lost(source.lost, now)
            for item in received.items:
                source.handle(item, now)

    def handle_due(self) -> None:
        """Request the discoveries and link updates that are due."""
        now = monotonic()
        if now >= self._discovery_bucket.next_act_at:
            since, cost_s = self._discovery_bucket.since, self._discovery_cost_s()
            self._discovery_bucket = self._discovery_bucket.act_started(now, cost_s=cost_s)
            self._request_discovery(self._affected, since)
            self._pools.request_check(self._affected)
            self._affected = set()
        if now >= self._link_bucket.next_act_at:
            since = self._link_bucket.since
            self._link_bucket = self._link_bucket.act_started(now)
            self._pools.propagate_links(since)

    def _handle_uevent(self, event: Uevent, now: float) -> None:
        if uevents.is_relevant(event.subsystem, event.devpath):
            self.counts[CounterName.UEVENTS] += 1
            self._affected.add(uevents.pci_function(event.devpath))
            self._discovery_bucket = self._discovery_bucket.event_seen(now)

    def _handle_link_change(self, change: LinkChange, now: float) -> None:
        news = self._pools.on_link_event(change.index, change.state)
        if news.is_news:
            self.counts[CounterName.LINK_CHANGES] += 1
            self._link_bucket = self._link_bucket.event_seen(now)
        if news.moved:
            self._affected |= news.moved
            self._discovery_bucket = self._discovery_bucket.event_seen(now)

    def _messages_lost(self, what: CounterName, now: float) -> None:
        self.counts[what] += 1
        if None not in self._affected:
            log.info("the kernel dropped messages: a full discovery follows", extra={"of": what})
        self._affected.add(None)
        self._discovery_bucket = self._discovery_bucket.event_seen(now)

    def _open_source(
        self,
        what: str,
        open_socket: Callable[[], GroupSocket[T]],
        lost: CounterName,
        handle: Callable[[T, float], None],
    ) -> None:
        try:
            self._sources.append(_EventSource(what, open_socket(), lost, handle))
        except OSError as error:
            self._report_failure(what, error)

    def _report_failure(self, what: str, error: OSError) -> None:
        text = f"no {what} ({error.strerror}): only periodic discoveries detect changes"
        log.warning(text)
        problem = make_problem(Code.KERNEL_EVENTS_UNAVAILABLE, text, what)
        self.problems = (*self.problems, problem)

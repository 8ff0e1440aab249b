"""The queue of discoveries and their requesters.

There is one discovery at a time. A request during a discovery waits for the next one, because the
current one may already have passed what has changed. All requests that wait for a discovery share
its result, except dry runs: others must not see what is read for those.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_worker.contract.device import Bdf

MAX_REQUESTERS: Final = 256
"""Maximum number of waiting requests; further ones are refused."""


class DiscoveryRequest(msgspec.Struct, frozen=True):
    """A discovery whose result is applied."""

    config: NodeConfig | None = None
    """The configuration that becomes active with it; None: the active one stays."""
    rescans: frozenset[bytes] = frozenset()
    """Requesters of a rescan."""
    reloads: frozenset[bytes] = frozenset()
    """Requesters of a reload."""
    force: bool = False
    """True: the configuration may remove devices that pods use."""
    only: frozenset[Bdf] | None = None
    """Functions to read; None: all."""
    event_at: float | None = None
    """Time of the first kernel event that caused it (monotonic seconds), if any."""

    @property
    def requesters(self) -> frozenset[bytes]:
        """Requesters that wait for it."""
        return self.rescans | self.reloads


class DryRunRequest(msgspec.Struct, frozen=True):
    """A discovery for the dry run of a configuration."""

    config: NodeConfig
    requester: bytes

    @property
    def requesters(self) -> frozenset[bytes]:
        """Requesters that wait for it."""
        return frozenset({self.requester})


class DiscoveryQueue(msgspec.Struct, frozen=True):
    """The running discovery, and the queued ones."""

    running: DiscoveryRequest | DryRunRequest | None = None
    rescan: DiscoveryRequest | None = None
    """The next discovery whose result is applied."""
    reload: DiscoveryRequest | None = None
    """The configuration that becomes active with it, if it may."""
    dry_runs: tuple[DryRunRequest, ...] = ()

    @property
    def is_discovery_requested(self) -> bool:
        """True if a discovery waits for its start."""
        return self.reload is not None or self.rescan is not None or bool(self.dry_runs)

    @property
    def is_reloading(self) -> bool:
        """True if a configuration waits for a discovery, or has one."""
        running = isinstance(self.running, DiscoveryRequest) and self.running.config is not None
        return running or self.reload is not None

    @property
    def is_full(self) -> bool:
        """True if no further request can wait."""
        waiting = sum(len(batch.requesters) for batch in (self.rescan, self.reload) if batch)
        return waiting + len(self.dry_runs) >= MAX_REQUESTERS

    @property
    def requesters(self) -> Iterator[bytes]:
        """All waiting requesters."""
        for request in (self.running, self.rescan, self.reload, *self.dry_runs):
            yield from request.requesters if request else ()

    def request_discovery(
        self,
        requester: bytes | None,
        *,
        only: frozenset[Bdf] | None = None,
        event_at: float | None = None,
    ) -> "DiscoveryQueue":
        """Return the queue with a request for a discovery.

        Args:
            requester: the requester; None: no requester waits for it.
            only: functions to read, unless another request needs more; None: all.
            event_at: time of the first kernel event that caused it (monotonic seconds).
        """
        wanted = DiscoveryRequest(rescans=_as_set(requester), only=only, event_at=event_at)
        if self.rescan is None:
            return msgspec.structs.replace(self, rescan=wanted)
        before = self.rescan
        both = None if only is None or before.only is None else only | before.only
        return msgspec.structs.replace(
            self,
            rescan=DiscoveryRequest(
                rescans=before.rescans | wanted.rescans,
                only=both,
                event_at=event_at if before.event_at is None else before.event_at,
            ),
        )

    def request_reload(
        self, config: NodeConfig, requester: bytes | None, *, force: bool = False
    ) -> "DiscoveryQueue":
        """Return the queue with a reload; its configuration replaces that of earlier requests.

        ``force`` applies only to the configuration that it was given for, not to a newer one.
        """
        before = self.reload or DiscoveryRequest()
        force = force or (before.force and before.config == config)
        reloads = before.reloads | _as_set(requester)
        return msgspec.structs.replace(
            self, reload=DiscoveryRequest(config=config, force=force, reloads=reloads)
        )

    def request_dry_run(self, dry_run: DryRunRequest) -> "DiscoveryQueue":
        """Return the queue with a dry run."""
        return msgspec.structs.replace(self, dry_runs=(*self.dry_runs, dry_run))

    def start_next(self) -> "DiscoveryQueue":
        """Return the queue after the start of the next discovery."""
        replace = msgspec.structs.replace
        if self.reload is not None:
            rescan = self.rescan or DiscoveryRequest()
            running = replace(self.reload, rescans=rescan.rescans, event_at=rescan.event_at)
            return replace(self, running=running, rescan=None, reload=None)
        if self.rescan is not None:
            return replace(self, running=self.rescan, rescan=None)
        return replace(self, running=self.dry_runs[0], dry_runs=self.dry_runs[1:])

    def finish_running(self) -> tuple["DiscoveryQueue", DiscoveryRequest | DryRunRequest | None]:
        """Return the queue after the end of the running discovery, and its request."""
        return msgspec.structs.replace(self, running=None), self.running


def _as_set(requester: bytes | None) -> frozenset[bytes]:
    return frozenset() if requester is None else frozenset({requester})

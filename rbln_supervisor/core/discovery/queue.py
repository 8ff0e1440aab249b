"""The queue of discoveries and their requesters.

There is one discovery at a time. A request during a discovery waits for the next one, because the
current one may already have passed what has changed. All requests that wait for a discovery share
its result, except dry runs: others must not see what is read for those.

While an active configuration is on trial (its new pools have to start, or it is rolled back), the
next one waits; discoveries go on.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_worker.contract.device import Bdf

ASKERS_MOST: Final = 256
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
    heard: float | None = None
    """Time of the first kernel event that caused it (monotonic seconds), if any."""

    @property
    def askers(self) -> frozenset[bytes]:
        """Requesters that wait for it."""
        return self.rescans | self.reloads


class DryRunRequest(msgspec.Struct, frozen=True):
    """A discovery for the dry run of a configuration."""

    config: NodeConfig
    asker: bytes

    @property
    def askers(self) -> frozenset[bytes]:
        """Requesters that wait for it."""
        return frozenset({self.asker})


class DiscoveryQueue(msgspec.Struct, frozen=True):
    """The running discovery, and the queued ones."""

    running: DiscoveryRequest | DryRunRequest | None = None
    rescan: DiscoveryRequest | None = None
    """The next discovery whose result is applied."""
    reload: DiscoveryRequest | None = None
    """The configuration that becomes active with it, if it may."""
    on_trial: frozenset[bytes] | None = None
    """Requesters of the configuration on trial; None if there is none."""
    trials: tuple[DryRunRequest, ...] = ()

    @property
    def is_one_wanted(self) -> bool:
        """True if a discovery waits for its start."""
        return self._is_reload_next or self.rescan is not None or bool(self.trials)

    @property
    def is_reloading(self) -> bool:
        """True if a configuration waits for a discovery, has one, or is on trial."""
        running = isinstance(self.running, DiscoveryRequest) and self.running.config is not None
        return running or self.reload is not None or self.on_trial is not None

    @property
    def is_full(self) -> bool:
        """True if no further request can wait."""
        waiting = sum(len(batch.askers) for batch in (self.rescan, self.reload) if batch)
        return waiting + len(self.trials) >= ASKERS_MOST

    @property
    def askers(self) -> Iterator[bytes]:
        """All waiting requesters."""
        for look in (self.running, self.rescan, self.reload, *self.trials):
            yield from look.askers if look else ()
        yield from self.on_trial or ()

    def ask(
        self,
        asker: bytes | None,
        *,
        only: frozenset[Bdf] | None = None,
        heard: float | None = None,
    ) -> "DiscoveryQueue":
        """Return the queue with a request for a discovery.

        Args:
            asker: the requester; None: no requester waits for it.
            only: functions to read, unless another request needs more; None: all.
            heard: time of the first kernel event that caused it (monotonic seconds).
        """
        wanted = DiscoveryRequest(rescans=_some(asker), only=only, heard=heard)
        if self.rescan is None:
            return msgspec.structs.replace(self, rescan=wanted)
        before = self.rescan
        both = None if only is None or before.only is None else only | before.only
        return msgspec.structs.replace(
            self,
            rescan=DiscoveryRequest(
                rescans=before.rescans | wanted.rescans,
                only=both,
                heard=heard if before.heard is None else before.heard,
            ),
        )

    def ask_for(
        self, config: NodeConfig, asker: bytes | None, *, force: bool = False
    ) -> "DiscoveryQueue":
        """Return the queue with a reload; its configuration replaces that of earlier requests.

        ``force`` applies only to the configuration that it was given for, not to a newer one.
        """
        before = self.reload or DiscoveryRequest()
        force = force or (before.force and before.config == config)
        reloads = before.reloads | _some(asker)
        return msgspec.structs.replace(
            self, reload=DiscoveryRequest(config=config, force=force, reloads=reloads)
        )

    def ask_about(self, trial: DryRunRequest) -> "DiscoveryQueue":
        """Return the queue with a dry run."""
        return msgspec.structs.replace(self, trials=(*self.trials, trial))

    def begin(self) -> "DiscoveryQueue":
        """Return the queue after the start of the next discovery."""
        replace = msgspec.structs.replace
        if self.reload is not None and self._is_reload_next:
            rescan = self.rescan or DiscoveryRequest()
            running = replace(self.reload, rescans=rescan.rescans, heard=rescan.heard)
            return replace(self, running=running, rescan=None, reload=None)
        if self.rescan is not None:
            return replace(self, running=self.rescan, rescan=None)
        return replace(self, running=self.trials[0], trials=self.trials[1:])

    def end(self) -> tuple["DiscoveryQueue", DiscoveryRequest | DryRunRequest | None]:
        """Return the queue after the end of the running discovery, and its request."""
        return msgspec.structs.replace(self, running=None), self.running

    def hold(self, askers: frozenset[bytes]) -> "DiscoveryQueue":
        """Return the queue with a configuration on trial; these requesters wait for its result."""
        return msgspec.structs.replace(self, on_trial=askers)

    def release(self) -> tuple["DiscoveryQueue", frozenset[bytes]]:
        """Return the queue after a trial, and the requesters that wait for its result."""
        return msgspec.structs.replace(self, on_trial=None), self.on_trial or frozenset()

    @property
    def _is_reload_next(self) -> bool:
        return self.reload is not None and self.on_trial is None


def _some(asker: bytes | None) -> frozenset[bytes]:
    return frozenset() if asker is None else frozenset({asker})

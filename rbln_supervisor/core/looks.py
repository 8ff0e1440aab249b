"""Who waits for which look at the node.

One look at a time; what is asked while one is on its way waits for the next one, because the first
may have passed what has changed since. All that wait for a look get their answer from the same,
but who only tries a configuration: nobody else may see what is looked at for it.

While a configuration that came into force is on trial (its new pools have to start, or it is taken
back) the next one waits; looks go on.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from rbln_supervisor.core.configuration.config import NodeConfig
from rbln_worker.contract.device import Bdf

ASKERS_MOST: Final = 256
"""Who wait for a look; whoever comes later is refused."""


class Batch(msgspec.Struct, frozen=True):
    """A look whose findings come into force."""

    config: NodeConfig | None = None
    """The configuration that comes into force with them; None: the one that is."""
    rescans: frozenset[bytes] = frozenset()
    """Who asked for a look."""
    reloads: frozenset[bytes] = frozenset()
    """Who asked for the configuration."""
    force: bool = False
    """The configuration may take devices that pods have."""
    only: frozenset[Bdf] | None = None
    """The functions to look at; None: all."""
    heard: float | None = None
    """When the kernel first spoke of what is looked for (monotonic seconds), where it did."""

    @property
    def askers(self) -> frozenset[bytes]:
        """Who waits for it."""
        return self.rescans | self.reloads


class Trial(msgspec.Struct, frozen=True):
    """A look for a configuration that somebody wants to know the effect of."""

    config: NodeConfig
    asker: bytes

    @property
    def askers(self) -> frozenset[bytes]:
        """Who waits for it."""
        return frozenset({self.asker})


class Looks(msgspec.Struct, frozen=True):
    """The look that is on its way, and those after it."""

    running: Batch | Trial | None = None
    rescan: Batch | None = None
    """The next one whose findings come into force."""
    reload: Batch | None = None
    """What comes into force with it, where it may."""
    on_trial: frozenset[bytes] | None = None
    """Who asked for the configuration that is on trial; None where none is."""
    trials: tuple[Trial, ...] = ()

    @property
    def is_one_wanted(self) -> bool:
        """A look waits to begin."""
        return self._is_reload_next or self.rescan is not None or bool(self.trials)

    @property
    def is_reloading(self) -> bool:
        """A configuration waits for a look, has one, or is on trial."""
        running = isinstance(self.running, Batch) and self.running.config is not None
        return running or self.reload is not None or self.on_trial is not None

    @property
    def is_full(self) -> bool:
        """Nobody else can wait."""
        waiting = sum(len(batch.askers) for batch in (self.rescan, self.reload) if batch)
        return waiting + len(self.trials) >= ASKERS_MOST

    @property
    def askers(self) -> Iterator[bytes]:
        """All that wait."""
        for look in (self.running, self.rescan, self.reload, *self.trials):
            yield from look.askers if look else ()
        yield from self.on_trial or ()

    def ask(
        self,
        asker: bytes | None,
        *,
        only: frozenset[Bdf] | None = None,
        heard: float | None = None,
    ) -> "Looks":
        """Somebody asks for a look; None: nobody, and yet there shall be one.

        Args:
            asker: who.
            only: at these functions, where nobody asks for more; None: at all.
            heard: when the kernel first spoke of what is looked for (monotonic seconds).
        """
        wanted = Batch(rescans=_some(asker), only=only, heard=heard)
        if self.rescan is None:
            return msgspec.structs.replace(self, rescan=wanted)
        before = self.rescan
        both = None if only is None or before.only is None else only | before.only
        return msgspec.structs.replace(
            self,
            rescan=Batch(
                rescans=before.rescans | wanted.rescans,
                only=both,
                heard=heard if before.heard is None else before.heard,
            ),
        )

    def ask_for(self, config: NodeConfig, asker: bytes | None, *, force: bool = False) -> "Looks":
        """Somebody asks for a configuration, which is newer than what others asked for.

        Force is meant for what one has seen: it does not carry over to a newer configuration.
        """
        before = self.reload or Batch()
        force = force or (before.force and before.config == config)
        reloads = before.reloads | _some(asker)
        return msgspec.structs.replace(
            self, reload=Batch(config=config, force=force, reloads=reloads)
        )

    def ask_about(self, trial: Trial) -> "Looks":
        """Somebody asks what a configuration would do."""
        return msgspec.structs.replace(self, trials=(*self.trials, trial))

    def begin(self) -> "Looks":
        """The next look begins."""
        replace = msgspec.structs.replace
        if self.reload is not None and self._is_reload_next:
            rescan = self.rescan or Batch()
            running = replace(self.reload, rescans=rescan.rescans, heard=rescan.heard)
            return replace(self, running=running, rescan=None, reload=None)
        if self.rescan is not None:
            return replace(self, running=self.rescan, rescan=None)
        return replace(self, running=self.trials[0], trials=self.trials[1:])

    def end(self) -> tuple["Looks", Batch | Trial | None]:
        """The look that was on its way ended: what remains, and what it was for."""
        return msgspec.structs.replace(self, running=None), self.running

    def hold(self, askers: frozenset[bytes]) -> "Looks":
        """A configuration is on trial, and these wait for what comes of it."""
        return msgspec.structs.replace(self, on_trial=askers)

    def release(self) -> tuple["Looks", frozenset[bytes]]:
        """The trial is over: what remains, and who waits for what came of it."""
        return msgspec.structs.replace(self, on_trial=None), self.on_trial or frozenset()

    @property
    def _is_reload_next(self) -> bool:
        return self.reload is not None and self.on_trial is None


def _some(asker: bytes | None) -> frozenset[bytes]:
    return frozenset() if asker is None else frozenset({asker})

"""Who waits for which look at the node.

One look at a time; what is asked while one is on its way waits for the next one, because the first
may have passed what has changed since. All that wait for a look get their answer from the same,
but who only tries a configuration: nobody else may see what is looked at for it.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from rbln_supervisor.core.configuration.config import NodeConfig

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
    batch: Batch | None = None
    """The next one whose findings come into force."""
    trials: tuple[Trial, ...] = ()

    @property
    def is_one_wanted(self) -> bool:
        """A look waits to begin."""
        return self.batch is not None or bool(self.trials)

    @property
    def is_full(self) -> bool:
        """Nobody else can wait."""
        waiting = self.batch.askers if self.batch else ()
        return len(waiting) + len(self.trials) >= ASKERS_MOST

    @property
    def askers(self) -> Iterator[bytes]:
        """All that wait."""
        for look in (self.running, self.batch, *self.trials):
            yield from look.askers if look else ()

    def ask(self, asker: bytes | None) -> "Looks":
        """Somebody asks for a look; None: nobody, and yet there shall be one."""
        batch = self.batch or Batch()
        rescans = batch.rescans | _some(asker)
        return msgspec.structs.replace(self, batch=msgspec.structs.replace(batch, rescans=rescans))

    def ask_for(self, config: NodeConfig, asker: bytes | None) -> "Looks":
        """Somebody asks for a configuration, which is newer than what others asked for."""
        batch = self.batch or Batch()
        reloads = batch.reloads | _some(asker)
        wanted = msgspec.structs.replace(batch, config=config, reloads=reloads)
        return msgspec.structs.replace(self, batch=wanted)

    def ask_about(self, trial: Trial) -> "Looks":
        """Somebody asks what a configuration would do."""
        return msgspec.structs.replace(self, trials=(*self.trials, trial))

    def begin(self) -> "Looks":
        """The next look begins."""
        if self.batch is not None:
            return Looks(running=self.batch, trials=self.trials)
        return Looks(running=self.trials[0], trials=self.trials[1:])

    def end(self) -> tuple["Looks", Batch | Trial | None]:
        """The look that was on its way ended: what remains, and what it was for."""
        return msgspec.structs.replace(self, running=None), self.running


def _some(asker: bytes | None) -> frozenset[bytes]:
    return frozenset() if asker is None else frozenset({asker})

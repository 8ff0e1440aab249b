"""Who waits for which look at the node.

One look at a time; what is asked while one is on its way waits for the next one, because the first
may have passed what has changed since. All that wait for a look get their answer from the same.
"""

from typing import Final

import msgspec

from rbln_supervisor.core.configuration.config import NodeConfig

ASKERS_MOST: Final = 256
"""Who wait for the next look; whoever comes later is refused."""


class Batch(msgspec.Struct, frozen=True):
    """What a look is made for."""

    config: NodeConfig | None = None
    """The configuration that it brings into force; None: the one that is."""
    rescans: frozenset[bytes] = frozenset()
    """Who asked for a look."""
    reloads: frozenset[bytes] = frozenset()
    """Who asked for the configuration."""


class Looks(msgspec.Struct, frozen=True):
    """The look that is on its way, and the one after it."""

    running: Batch | None = None
    waiting: Batch | None = None

    @property
    def is_full(self) -> bool:
        """Nobody else can wait."""
        waiting = self.waiting or Batch()
        return len(waiting.rescans) + len(waiting.reloads) >= ASKERS_MOST

    def ask(self, asker: bytes | None) -> "Looks":
        """Somebody asks for a look; None: nobody, and yet there shall be one."""
        waiting = self.waiting or Batch()
        rescans = waiting.rescans | ({asker} if asker is not None else frozenset())
        return msgspec.structs.replace(
            self, waiting=msgspec.structs.replace(waiting, rescans=rescans)
        )

    def ask_for(self, config: NodeConfig, asker: bytes | None) -> "Looks":
        """Somebody asks for a configuration, which is newer than what others asked for."""
        waiting = self.waiting or Batch()
        reloads = waiting.reloads | ({asker} if asker is not None else frozenset())
        return msgspec.structs.replace(
            self, waiting=msgspec.structs.replace(waiting, config=config, reloads=reloads)
        )

    def begin(self) -> "Looks":
        """The next look begins."""
        return Looks(running=self.waiting)

    def end(self) -> tuple["Looks", Batch]:
        """A look ended: what remains, and whom it was for.

        Where none was on its way, the one that waits is meant: it could not even begin.
        """
        if self.running is not None:
            return Looks(waiting=self.waiting), self.running
        return Looks(), self.waiting or Batch()

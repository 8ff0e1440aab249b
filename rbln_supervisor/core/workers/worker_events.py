"""Events of the life cycle of a pool's worker (lifecycle.py)."""

import msgspec

from rbln_worker.contract.messages import ToSupervisor


class Needed(msgspec.Struct, frozen=True):
    """Event: the pool has devices."""


class NotNeeded(msgspec.Struct, frozen=True):
    """Event: the pool was removed, or the supervisor is leaving."""


class ExportEnded(msgspec.Struct, frozen=True):
    """Event: the pool of a DRA worker was removed, or is exported in another way from now on."""


class MessageReceived(msgspec.Struct, frozen=True):
    """Event: the worker sent a message, so it is alive."""

    sender: bytes = b""
    """Its address at the router."""
    message: ToSupervisor | None = None


class OrphanFound(msgspec.Struct, frozen=True):
    """Event: an orphan holds the pool's lock; found at the start, or instead of a spawn."""

    pid: int = 0
    incarnation: str = ""
    driver: str = ""
    """Its DRA driver; empty: it serves the device-plugin API."""


class Incompatible(msgspec.Struct, frozen=True):
    """Event: the orphan's hello shows that it can't be adopted."""


class StateReceived(msgspec.Struct, frozen=True):
    """Event: the orphan has reported its state."""


class Exited(msgspec.Struct, frozen=True):
    """Event: the process has ended and was reaped, or could not be started."""

    chance: float
    """In [0, 1); decides the jitter of the next delay."""
    how: str = ""
    """Text for people."""
    cause: str = ""
    """Label: ``SIGKILL``, ``exit-70``, ``not-started``."""


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Event: the deadline has passed."""


Event = (
    Needed
    | NotNeeded
    | ExportEnded
    | MessageReceived
    | OrphanFound
    | Incompatible
    | StateReceived
    | Exited
    | DeadlinePassed
)

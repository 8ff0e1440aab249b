"""What happened to a pool's devices and to its registration, as its worker saw it.

The exception to "state, not events": what a device was between two states is what people ask about
on the day after. Each happening has a number in its worker's life, so that a supervisor that is
told all of them again (a new one always is) records each once.
"""

from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId

REASON_MOST: Final = 300
"""Characters of a reason."""

Word = Literal["Healthy", "Unhealthy", "Unknown", "left", "registered", "unregistered"]
"""The first four are of a device: what the kubelet hears, or that nobody can tell (it still hears
the last word), or that the device is the pool's no more. The others are of the pool."""


class Happening(msgspec.Struct, frozen=True):
    """One transition."""

    number: int
    """From 1, without gaps, in one life of a worker."""
    at: float
    """Seconds since the epoch."""
    word: Word
    device: DeviceId = DeviceId("")
    """Empty where it is of the pool."""
    source: str = ""
    """Where the evidence comes from; of a registration: the way."""
    reason: str = ""
    first: bool = False
    """Nothing was said before, in this life, of a device that was there when it began: it need
    not be news."""


class History(msgspec.Struct, frozen=True, tag="history"):
    """Happenings in their order: those that were not told yet, and after a hello all that are kept.

    Who finds a gap in the numbers knows how many were forgotten before they could be told.
    """

    happened: tuple[Happening, ...]

"""Transitions of a pool's devices and of its registration, as its worker recorded them.

The exception to "state, not events": operators ask the next day what happened to a device. Each
transition has a number within its worker's life, so that a supervisor that receives all of them
again (a new one always does) records each once.
"""

from typing import Final, Literal

import msgspec

from rbln_worker.contract.device import DeviceId

MAX_REASON_LENGTH: Final = 300
"""Maximum length of a reason, in characters."""

Word = Literal["Healthy", "Unhealthy", "Unknown", "left", "registered", "unregistered"]
"""The first four describe a device: its state for the kubelet, or Unknown (the kubelet keeps the
last state), or its removal from the pool. The others describe the pool."""


class Transition(msgspec.Struct, frozen=True):
    """A transition of a device or of the pool's registration."""

    number: int
    """The number within one life of a worker: from 1, without gaps."""
    at: float
    """The time, in seconds since the epoch."""
    word: Word
    device: DeviceId = DeviceId("")
    """Empty for a transition of the pool."""
    source: str = ""
    """The source of the evidence; for a registration: the way to the kubelet."""
    reason: str = ""
    first: bool = False
    """True for the first state, in this life, of a device that was present at its start.

    It may be known already.
    """


class History(msgspec.Struct, frozen=True, tag="history"):
    """Transitions in order: those not sent yet, or after a hello all that are kept.

    The size of a gap in the numbers is the number of transitions that were dropped before they
    could be sent.
    """

    happened: tuple[Transition, ...]

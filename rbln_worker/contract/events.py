"""Events: transitions of devices, pools and processes.

The exception to "state, not events": operators ask the next day what happened to a device. Each
process records its own events in its own file (rbln_worker/process/event_file.py).
"""

from typing import Final, Literal

import msgspec

MAX_TEXT: Final = 300
"""Maximum length of each text of an event (characters): texts may come from anywhere."""

Kind = Literal[
    "device",
    "pool",
    "registration",
    "worker",
    "reload",
    "kubelet",
    "supervisor",
    "pod",
    "claim",
]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition."""

    at: float
    """Seconds since the epoch."""
    kind: Kind
    what: str
    """New state or event: ``Unhealthy``, ``serving``, ``died``, ``refused``, …"""
    pool: str = ""
    device: str = ""
    source: str = ""
    """Source of the evidence; of a registration: the way; of a claim: ``namespace/name``."""
    why: str = ""

    @property
    def subject(self) -> tuple[Kind, str, str]:
        """The thing whose transition it is: kind, pool and device."""
        return self.kind, self.pool, self.device


def limit_text(text: str) -> str:
    """Return a text, cut to the maximum length."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"

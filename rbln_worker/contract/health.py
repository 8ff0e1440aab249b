"""Words for the state of a device."""

import msgspec

from rbln_worker.contract.device import DeviceId


class Verdict(msgspec.Struct, frozen=True):
    """What a worker says of one of its devices."""

    healthy: bool
    reason: str = ""
    """Why it is not healthy; empty where it is."""


class Judged(msgspec.Struct, frozen=True):
    """A verdict with its device."""

    id: DeviceId
    verdict: Verdict

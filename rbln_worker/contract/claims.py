"""Prepared ResourceClaims of a pool that is exported by DRA."""

from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId

CHECKPOINT: Final = "checkpoint.json"
"""The file in a driver's folder with its claims. Drivers of other programs have files of this name,
too, with another content."""
MAX_CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""Maximum number of bytes that are read of it: thousands of claims."""


class PreparedClaim(msgspec.Struct, frozen=True):
    """A ResourceClaim whose devices were prepared for pods of this node."""

    uid: str
    namespace: str
    name: str
    devices: tuple[DeviceId, ...]
    """Sorted."""
    pods: tuple[str, ...] = ()
    """The pods that it was reserved for when it was prepared, as ``namespace/name``."""
    since: float = 0.0
    """The time of its first preparation (seconds since the epoch)."""
    admin: bool = False
    """True for adminAccess: other claims may have the same devices."""

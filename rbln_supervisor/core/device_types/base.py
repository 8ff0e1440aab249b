"""The description of a device type."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, PciFunction, Subfunction


class RefusalReason(Enum):
    """Reasons why no pool can have a device, independent of selectors."""

    NO_DRIVER = "no-driver"
    NO_FUNCTION_DRIVER = "no-function-driver"
    """Of a sub-function: no driver is bound to its PCI function."""
    VFS_ENABLED = "vfs-enabled"
    DEFAULT_ROUTE = "default-route"
    UNREADABLE = "unreadable"
    """Discovery could not read it."""
    GONE = "gone"
    """It does not exist any more, and a pool still lists it as Unhealthy."""

    @property
    def text(self) -> str:
        """Sentence for people."""
        return _REFUSAL_TEXTS[self]


_REFUSAL_TEXTS: Final = {
    RefusalReason.NO_DRIVER: "no driver is bound to it",
    RefusalReason.NO_FUNCTION_DRIVER: "no driver is bound to its PCI function",
    RefusalReason.VFS_ENABLED: "its virtual functions are enabled: pods get them instead",
    RefusalReason.DEFAULT_ROUTE: "the node's default route uses it, and would be lost in a "
    "container (--allow-default-route permits it)",
    RefusalReason.UNREADABLE: "it can't be read",
    RefusalReason.GONE: "it does not exist any more",
}


class Candidate(msgspec.Struct, frozen=True):
    """A device for pools of a type, or the reason why no pool can have it."""

    device: Device
    refusal: RefusalReason | None = None


class DeviceTypeSpec(msgspec.Struct, frozen=True):
    """A device type."""

    base_class: int
    """PCI base class of its functions (PCI code and ID assignment, section 1)."""
    selectors: tuple[str, ...]
    """Keys of its selector objects, in the order in which they are matched."""
    candidates: Callable[[PciFunction, Iterable[Subfunction]], Iterable[Candidate]]
    """Yields the devices of a function; the second argument has its sub-functions."""

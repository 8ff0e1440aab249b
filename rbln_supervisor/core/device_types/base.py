"""The description of a device type."""

from collections.abc import Callable, Iterable

import msgspec

from rbln_worker.contract.device import Device, PciFunction, Subfunction


class Candidate(msgspec.Struct, frozen=True):
    """A device for pools of a type, or the reason why no pool can have it."""

    device: Device
    refusal: str | None = None
    """Reason why no pool of the type can have it, independent of selectors."""


class DeviceTypeSpec(msgspec.Struct, frozen=True):
    """A device type."""

    base_class: int
    """PCI base class of its functions (PCI code and ID assignment, section 1)."""
    selectors: tuple[str, ...]
    """Keys of its selector objects, in the order in which they are matched."""
    candidates: Callable[[PciFunction, Iterable[Subfunction]], Iterable[Candidate]]
    """Yields the devices of a function; the second argument has its sub-functions."""

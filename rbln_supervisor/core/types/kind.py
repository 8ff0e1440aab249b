"""What a type of device has to say."""

from collections.abc import Callable, Iterable

import msgspec

from rbln_worker.contract.device import Device, PciFunction, Subfunction


class Candidate(msgspec.Struct, frozen=True):
    """A device that pools of a type may take, or why none may."""

    device: Device
    refusal: str | None = None
    """Why no pool of the type can have it, whatever its selectors say."""


class Kind(msgspec.Struct, frozen=True):
    """A type of device."""

    base_class: int
    """The PCI base class of its functions (PCI code and ID assignment, section 1)."""
    selectors: tuple[str, ...]
    """The keys of its selector objects, in the order in which they are asked."""
    candidates: Callable[[PciFunction, Iterable[Subfunction]], Iterable[Candidate]]
    """The devices of a function; its sub-functions are given beside it."""

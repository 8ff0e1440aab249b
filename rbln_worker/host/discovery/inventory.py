"""Request and result of a discovery."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf, LinkState, PciFunction, Subfunction
from rbln_worker.contract.problem import Problem

NETWORK: Final = 0x02
"""The PCI base class of network controllers."""


class Needs(msgspec.Struct, frozen=True):
    """Facts that a discovery has to read; it reads nothing else."""

    base_classes: frozenset[int] = frozenset()
    only: frozenset[Bdf] | None = None
    """These functions only, and the PFs of the virtual ones; None: all."""
    acpi_indexes: bool = False
    subfunctions: bool = False
    rdma: bool = False
    """True to read the functions that may have RDMA devices in another network namespace."""
    ddp_profiles: bool = False
    default_routes: bool = True
    """True to read the functions that carry a default route of the node."""


class Unreadable(msgspec.Struct, frozen=True):
    """A device that can't be described, so that no pool can own it."""

    name: str
    """A PCI address, or the name of an auxiliary device."""
    why: str


class ScanResult(msgspec.Struct, frozen=True):
    """The result of a discovery."""

    functions: tuple[PciFunction, ...] = ()
    """Functions, sorted by address."""
    subfunctions: Mapping[Bdf, tuple[Subfunction, ...]] = {}
    """Sub-functions by their PCI function, each sorted by name."""
    unreadable: tuple[Unreadable, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Facts of the node that could not be read."""
    failed: str | None = None
    """The reason why nothing could be read; the previous result stays valid."""
    links: Mapping[int, LinkState] = {}
    """The links of this network namespace, by index; read only if there are network functions."""
    discovered: frozenset[Bdf] | None = None
    """Addresses that were read; None: all. One of them without a function does not exist."""

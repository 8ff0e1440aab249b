"""What a look at the node is asked for, and what it finds."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf, LinkState, PciFunction, Subfunction

NETWORK: Final = 0x02
"""The PCI base class of network controllers."""


class Needs(msgspec.Struct, frozen=True):
    """What of a node has to be looked at; nothing else is read."""

    base_classes: frozenset[int] = frozenset()
    only: frozenset[Bdf] | None = None
    """These functions alone, and the PFs of those among them that are virtual; None: all."""
    acpi_indexes: bool = False
    subfunctions: bool = False
    rdma: bool = False
    """Whether a function may have RDMA devices that lie in another network namespace."""
    ddp_profiles: bool = False
    default_routes: bool = True
    """Which functions carry a default route of the node."""


class Unreadable(msgspec.Struct, frozen=True):
    """A device that is there and can't be described, so that no pool can own it."""

    name: str
    """A PCI address, or an auxiliary device's name."""
    why: str


class Inventory(msgspec.Struct, frozen=True):
    """What was found."""

    functions: tuple[PciFunction, ...] = ()
    """Sorted by address."""
    subfunctions: Mapping[Bdf, tuple[Subfunction, ...]] = {}
    """By the PCI function that carries them, each sorted by name."""
    unreadable: tuple[Unreadable, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be found out of the node as a whole."""
    failed: str | None = None
    """Why there was nothing to look at; what was known before then still stands."""
    links: Mapping[int, LinkState] = {}
    """The links of our network namespace, by index; looked at with network functions only."""
    looked: frozenset[Bdf] | None = None
    """Which functions were looked at; None: all. One that is not found is not there."""

"""The request of a discovery."""

from typing import Final

import msgspec

from rbln_worker.contract.device import Bdf

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

"""Filter of kernel uevents: those that need a discovery, and the functions that they name.

An event says that something changed, never the current state: a discovery reads that.
"""

import re
from typing import Final

from rbln_worker.contract.device import Bdf

SUBSYSTEMS: Final = frozenset(
    {
        *("pci", "auxiliary", "net", "infiniband", "infiniband_verbs", "infiniband_mad"),
        *("vfio", "vfio-dev", "uio", "vdpa", "rebellions"),
    }
)
"""Subsystems of devices: functions, sub-functions, interfaces, and those that create their
nodes."""

_ADDRESS: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VIRTUAL_LINKS: Final = "/devices/virtual/net/"
"""Path of links without hardware: each pod that starts or ends creates or removes some."""


def is_relevant(subsystem: str, devpath: str) -> bool:
    """Return True if an event may change the devices, or what a container gets for one."""
    if devpath.startswith(_VIRTUAL_LINKS):
        return False
    return subsystem in SUBSYSTEMS or (not subsystem and pci_function(devpath) is not None)


def pci_function(devpath: str) -> Bdf | None:
    """Return the PCI function at or above an event's device; None if its path names none."""
    addresses = [part for part in devpath.split("/") if _ADDRESS.fullmatch(part)]
    return Bdf(addresses[-1]) if addresses else None

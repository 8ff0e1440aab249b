"""What a kernel uevent means: whether the node has to be looked at, and which functions it names.

An event says that something happened, never what there is now: that is what a look finds out.
"""

import re
from collections.abc import Mapping, Set
from typing import Final

from rbln_supervisor.core.roster import Roster
from rbln_worker.contract.device import Bdf, DeviceId
from rbln_worker.contract.pool import PoolName

SUBSYSTEMS: Final = frozenset(
    {
        *("pci", "auxiliary", "net", "infiniband", "infiniband_verbs", "infiniband_mad"),
        *("vfio", "vfio-dev", "uio", "vdpa", "rebellions"),
    }
)
"""Whose events concern devices: functions, sub-functions, interfaces, and what gives them nodes."""

_ADDRESS: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VIRTUAL_LINKS: Final = "/devices/virtual/net/"
"""Where links without hardware lie: each pod that starts or ends makes some come and go."""


def concerns(subsystem: str, devpath: str) -> bool:
    """Whether an event may change which devices there are, or what a container gets for one."""
    if devpath.startswith(_VIRTUAL_LINKS):
        return False
    return subsystem in SUBSYSTEMS or (not subsystem and function(devpath) is not None)


def function(devpath: str) -> Bdf | None:
    """The PCI function that an event's device is, or lies below; None where it names none."""
    addresses = [part for part in devpath.split("/") if _ADDRESS.fullmatch(part)]
    return Bdf(addresses[-1]) if addresses else None


def touched(
    functions: Set[Bdf | None], rosters: Mapping[PoolName, Roster]
) -> Mapping[PoolName, tuple[DeviceId, ...]]:
    """The devices that events name, of each pool that has some, sorted.

    Args:
        functions: of each event; None, for one that names none, is no device.
        rosters: what each pool lists.
    """
    found = {
        pool: tuple(d for d, device in roster.devices.items() if device.function.bdf in functions)
        for pool, roster in rosters.items()
    }
    return {pool: devices for pool, devices in found.items() if devices}

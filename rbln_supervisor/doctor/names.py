"""Owners of a name: a node below /dev, an IOMMU group, an entry in /sys/class."""

import re
from pathlib import Path
from typing import Final

from rbln_supervisor.doctor.examination import Owners
from rbln_worker.host.discovery.auxiliary import find_owner
from rbln_worker.host.sysfs import PCI_ADDRESS, list_names

_GROUP: Final = re.compile(
    r"(?:/sys/kernel/iommu_groups/|/dev/vfio/(?:noiommu-)?|vfio/|iommu[ _-]?group[s]?[ /:#]?"
    r"|iommu[ :#]|group[ :#])?([0-9]{1,7})/?",
    re.IGNORECASE,
)
_ENTRY: Final = re.compile(r"[\w@:+-][\w@:+.-]{0,63}")
_SHARED: Final = frozenset({"/dev/vfio/vfio", "/dev/rsd0", "/dev/infiniband/rdma_cm"})


def device_owners(root: Path, name: str) -> Owners:
    """Return the IDs of the devices with a name, below a host's root."""
    name = name.strip()
    if match := _GROUP.fullmatch(name):
        found = list_names(f"{root}/sys/kernel/iommu_groups/{match[1]}/devices")
        return Owners(f"the IOMMU group {match[1]}", tuple(filter(PCI_ADDRESS.fullmatch, found)))
    if name in _SHARED:
        return Owners("a node that all devices of its kind share")
    entry = name.rstrip("/").rpartition("/")[2]
    if not _ENTRY.fullmatch(entry):
        return Owners()
    for kind in list_names(f"{root}/sys/class"):
        if owner := find_owner(f"{root}/sys/class/{kind}/{entry}"):
            return Owners(f"{entry} of the class {kind}", (owner.name,))
    return Owners()

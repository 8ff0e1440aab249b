"""vDPA devices of the node, by their function or sub-function.

Facts come from sysfs (Documentation/ABI/testing/sysfs-bus-vdpa), where each device is read
separately: a netlink dump of all devices fails for one broken device.
"""

import os
from collections.abc import Mapping
from typing import Final, Literal

from rbln_worker.contract.device import Vdpa
from rbln_worker.host.discovery import auxiliary
from rbln_worker.host.sysfs import list_names

VDPA_DEVICES: Final = "sys/bus/vdpa/devices"

_KINDS: Final[Mapping[str, Literal["vhost", "virtio"]]] = {
    "vhost_vdpa": "vhost",
    "virtio_vdpa": "virtio",
}


def scan_vdpa(root: str) -> dict[str, Vdpa]:
    """Return the vDPA devices by PCI address or sub-function; the first of several."""
    home = f"{root}/{VDPA_DEVICES}"
    found: dict[str, Vdpa] = {}
    for name in list_names(home):
        owner = auxiliary.find_owner(f"{home}/{name}")
        if owner is not None:
            found.setdefault(owner.name, Vdpa(name, _driver_kind(f"{home}/{name}")))
    return found


def _driver_kind(path: str) -> Literal["vhost", "virtio", ""]:
    try:
        return _KINDS.get(os.path.basename(os.readlink(f"{path}/driver")), "")
    except OSError:
        return ""

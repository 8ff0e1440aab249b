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
        try:
            owner = _owner_address(os.readlink(f"{home}/{name}"))
        except (OSError, ValueError):
            continue  # it is being removed, or belongs to no function
        if owner is not None:
            found.setdefault(owner, Vdpa(name, _driver_kind(f"{home}/{name}")))
    return found


def _owner_address(place: str) -> str | None:
    """Return the nearest function above a device's folder (…/0000:03:00.2/vdpa0)."""
    above = place.split("/")[:-1]
    number = auxiliary.owner_index(above)
    return None if number is None else above[number]


def _driver_kind(path: str) -> Literal["vhost", "virtio", ""]:
    try:
        return _KINDS.get(os.path.basename(os.readlink(f"{path}/driver")), "")
    except OSError:
        return ""

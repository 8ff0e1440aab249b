"""vDPA devices of the node, by the function or sub-function that they belong to.

From sysfs (Documentation/ABI/testing/sysfs-bus-vdpa): each device is looked at alone, where one
broken device ends a dump by netlink for all of them.
"""

import os
from collections.abc import Mapping
from typing import Final, Literal

from rbln_worker.contract.device import Vdpa
from rbln_worker.host import auxiliary
from rbln_worker.host.sysfs import names

VDPA_DEVICES: Final = "sys/bus/vdpa/devices"

_KINDS: Final[Mapping[str, Literal["vhost", "virtio"]]] = {
    "vhost_vdpa": "vhost",
    "virtio_vdpa": "virtio",
}


def scan(root: str) -> dict[str, Vdpa]:
    """PCI address or sub-function's name → its vDPA device, the first where there are several."""
    home = f"{root}/{VDPA_DEVICES}"
    found: dict[str, Vdpa] = {}
    for name in names(home):
        try:
            owner = _owner(os.readlink(f"{home}/{name}"))
        except (OSError, ValueError):
            continue  # it is going, or is none of a function's; nobody misses it but itself
        if owner is not None:
            found.setdefault(owner, Vdpa(name, _kind(f"{home}/{name}")))
    return found


def _owner(place: str) -> str | None:
    """The nearest function above a device's directory (…/0000:03:00.2/vdpa0)."""
    above = place.split("/")[:-1]
    number = auxiliary.owner(above)
    return None if number is None else above[number]


def _kind(path: str) -> Literal["vhost", "virtio", ""]:
    try:
        return _KINDS.get(os.path.basename(os.readlink(f"{path}/driver")), "")
    except OSError:
        return ""

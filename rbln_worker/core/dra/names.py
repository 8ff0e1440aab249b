"""Names of devices in ResourceSlices: DNS labels, made from device IDs."""

import re
from typing import Final

from rbln_worker.contract.device import DeviceId

_NOT_IN_LABEL: Final = re.compile(r"[^a-z0-9]+")


def dra_device_name(device: DeviceId) -> str:
    """Return the name of a device, such as ``0000-3b-00-0`` for 0000:3b:00.0."""
    return _NOT_IN_LABEL.sub("-", device.lower()).strip("-")

"""All device types, by their name in the configuration."""

from collections.abc import Mapping
from typing import Final

from rbln_supervisor.core.device_types import accelerator, aux_net_device, net_device
from rbln_supervisor.core.device_types.base import DeviceTypeSpec
from rbln_worker.contract.pool import DeviceType

DEVICE_TYPES: Final[Mapping[DeviceType, DeviceTypeSpec]] = {
    "accelerator": accelerator.KIND,
    "netDevice": net_device.KIND,
    "auxNetDevice": aux_net_device.KIND,
}

"""What the supervisor's word says of a device's health; no file has to be read for it."""

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.health import carrier
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.observation import GOOD, Bad, Observation


def observe(device: Device, policy: HealthPolicy, ports: tuple[PortState, ...] = ()) -> Observation:
    """Presence and carrier; ``ports``: the states that were read last."""
    if device.gone is not None:
        return Bad("sysfs", device.gone)
    return carrier.observe(device, ports) if policy.link_state else GOOD

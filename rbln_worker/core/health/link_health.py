"""Health evidence from the desired state; it requires no read of a file."""

from rbln_worker.contract.device import Device
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.health import carrier
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.observation import GOOD, Bad, Observation


def desired_state_evidence(
    device: Device, policy: HealthPolicy, ports: tuple[PortState, ...] = ()
) -> Observation:
    """Return the evidence of presence and carrier; ``ports``: the port states of the last check."""
    if device.gone is not None:
        return Bad("sysfs", device.gone)
    if device.held:
        return Bad("pods", device.held)
    return carrier.carrier_evidence(device, ports) if policy.link_state else GOOD

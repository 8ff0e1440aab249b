"""What the supervisor's word says of a device's health; no file has to be read for it."""

from rbln_worker.contract.device import Device, LinkState
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Observation


def observe(device: Device, policy: HealthPolicy) -> Observation:
    """Whether it is there, and whether its link is up."""
    if device.gone is not None:
        return Bad("sysfs", device.gone)
    if policy.link_state and device.link is not None and not device.link.up:
        return Doubt("link", _down(device, device.link))
    return GOOD


def _down(device: Device, link: LinkState) -> str:
    whose = f"link of its PF {link.name}" if device.pf is not None else f"its link {link.name}"
    if link.admin_up:
        return f"{whose} is down (no carrier)"
    return f"{whose} is set down: ip link set {link.name} up"

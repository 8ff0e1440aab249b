"""Evidence that the driver of an allocated device is still bound (drivers/base/dd.c).

The kernel does not report at once that a device in use is removed: its links disappear at once, the
uevents follow when it is released, possibly hours later (seen with vfio on Linux 6.1).
"""

from rbln_worker.contract.device import Device
from rbln_worker.core.allocation.host_facts import HostFacts, LinkTarget, Unread
from rbln_worker.core.allocation.providers.provider import pci_sysfs_dir
from rbln_worker.core.health.observation import GOOD, Doubt, Observation, one_line


def link_reads(device: Device) -> tuple[LinkTarget, ...]:
    """Return the link to its driver."""
    return (_driver_link(device),) if device.function.driver is not None else ()


def driver_evidence(device: Device, facts: HostFacts) -> Observation:
    """Return Doubt if another driver or none is bound: the desired state may change in a moment."""
    wanted = device.function.driver
    bound = facts.text(_driver_link(device))
    if wanted is None or bound == wanted:
        return GOOD
    if isinstance(bound, Unread):  # an unreadable link is no evidence
        return Doubt("sysfs", "no driver is bound to it") if bound.absent else GOOD
    return Doubt("sysfs", f"driver {one_line(bound)} is bound to it, {wanted} was")


def _driver_link(device: Device) -> LinkTarget:
    return LinkTarget(f"{pci_sysfs_dir(device)}/driver")

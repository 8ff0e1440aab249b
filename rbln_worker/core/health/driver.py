"""Whether the driver that a device was given out with is still bound (drivers/base/dd.c).

The kernel says nothing when a device leaves that somebody uses: its links go at once, the uevents
follow once it is let go, which may take hours (seen with vfio on Linux 6.1).
"""

from rbln_worker.contract.device import Device
from rbln_worker.core.facts import Facts, Link, Missing
from rbln_worker.core.health.observation import GOOD, Doubt, Observation, shown
from rbln_worker.core.providers.offer import pci_home


def needs(device: Device) -> tuple[Link, ...]:
    """The link to its driver."""
    return (_link(device),) if device.function.driver is not None else ()


def observe(device: Device, facts: Facts) -> Observation:
    """Doubtful where it is another one or none: the supervisor may know better in a moment."""
    wanted = device.function.driver
    bound = facts.text(_link(device))
    if wanted is None or bound == wanted:
        return GOOD
    if isinstance(bound, Missing):  # what can't be read is no evidence
        return Doubt("sysfs", "no driver is bound to it") if bound.absent else GOOD
    return Doubt("sysfs", f"driver {shown(bound)} is bound to it, {wanted} was")


def _link(device: Device) -> Link:
    return Link(f"{pci_home(device)}/driver")

"""One look at the node: every file read once, what belongs to a PF shared among its functions.

It may wait for as long as the kernel lets it (rtnl, devlink and device locks): it belongs into a
process of its own, which somebody watches.
"""

from pathlib import Path

from rbln_worker.host import network, pci
from rbln_worker.host.inventory import NETWORK, Inventory, Needs
from rbln_worker.host.sysfs import PCI_DEVICES


def look(root: Path, needs: Needs) -> Inventory:
    """Look at the node below ``root``; never raises for what is on disk."""
    try:
        scan = pci.scan(f"{root}", needs)
    except OSError as error:
        return Inventory(failed=f"/{PCI_DEVICES}: {error.strerror}")
    if any(one.function.base_class == NETWORK for one in scan.found.values()):
        return network.describe(f"{root}", scan, needs)
    return Inventory(
        functions=tuple(one.function for one in scan.found.values()),
        unreadable=scan.unreadable,
        looked=scan.looked,
    )

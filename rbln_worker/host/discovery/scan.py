"""A scan of the node: reads each file once, and shares a PF's facts among its functions.

It may block as long as the kernel does (rtnl, devlink and device locks), so it runs in a process of
its own with a deadline.
"""

from pathlib import Path

from rbln_worker.host.discovery import network, pci
from rbln_worker.host.discovery.inventory import NETWORK, Needs, ScanResult
from rbln_worker.host.sysfs import PCI_DEVICES


def scan_host(root: Path, needs: Needs) -> ScanResult:
    """Scan the node below ``root``; raises nothing for contents of the file system."""
    try:
        scan = pci.scan_functions(f"{root}", needs)
    except OSError as error:
        return ScanResult(failed=f"/{PCI_DEVICES}: {error.strerror}")
    if any(one.function.base_class == NETWORK for one in scan.found.values()):
        return network.describe_functions(f"{root}", scan, needs)
    return ScanResult(
        functions=tuple(one.function for one in scan.found.values()),
        unreadable=scan.unreadable,
        discovered=scan.discovered,
    )

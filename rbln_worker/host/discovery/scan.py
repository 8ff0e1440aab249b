"""A scan of the node: reads each file once, and shares a PF's facts among its functions.

It may block as long as the kernel does (rtnl, devlink and device locks), so it runs in a process of
its own with a deadline.
"""

from pathlib import Path

import msgspec

from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.problem import Code, make_problem
from rbln_worker.host.discovery import network, pci
from rbln_worker.host.discovery.inventory import NETWORK, Needs
from rbln_worker.host.sysfs import PCI_DEVICES


def scan_node(root: Path, needs: Needs) -> DiscoveryResult:
    """Scan the node below ``root``; raises nothing for contents of the file system."""
    try:
        scan = pci.scan_functions(f"{root}", needs)
    except OSError as error:
        why = f"/{PCI_DEVICES}: {error.strerror}"
        return DiscoveryResult(failed=f"the node's devices can't be listed: {why}")
    if any(one.function.base_class == NETWORK for one in scan.found.values()):
        result = network.describe_functions(f"{root}", scan, needs)
    else:
        functions = {bdf: one.function for bdf, one in scan.found.items()}
        node = NodeInventory(functions, unreadable=scan.unreadable)
        result = DiscoveryResult(node, discovered=scan.discovered)
    problems = (
        make_problem(Code.DEVICE_UNREADABLE, f"device {name} is left out: {why}", name)
        for name, why in result.node.unreadable.items()
    )
    return msgspec.structs.replace(result, problems=(*problems, *result.problems))

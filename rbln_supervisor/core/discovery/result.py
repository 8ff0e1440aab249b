"""The result of one discovery of the node."""

from collections.abc import Mapping

import msgspec

from rbln_supervisor.core.matching.node_inventory import NodeInventory
from rbln_worker.contract.device import Bdf, LinkState
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.problem import Problem


class DiscoveryResult(msgspec.Struct, frozen=True):
    """The result of one discovery."""

    node: NodeInventory = NodeInventory()
    links: Mapping[int, LinkState] = {}
    """Links of our network namespace, by index."""
    problems: tuple[Problem, ...] = ()
    """Devices that can't be described, and facts that are missing for all devices."""
    failed: str | None = None
    """Reason why the discovery failed; the previous result stays valid."""
    held: ResourceHolders | None = None
    """Devices that pods use; None if that was not requested."""
    discovered: frozenset[Bdf] | None = None
    """Functions that were read; None: all, and a function that is missing from ``node`` is gone."""

"""The devices of a node, as a discovery reads them."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Bdf, LinkState, PciFunction, Subfunction
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.problem import Problem


class NodeInventory(msgspec.Struct, frozen=True):
    """Functions and sub-functions, and devices that could not be read."""

    functions: Mapping[Bdf, PciFunction] = {}
    """By address, sorted."""
    subfunctions: Mapping[Bdf, tuple[Subfunction, ...]] = {}
    """By the address of the PCI function that they belong to, each sorted by name."""
    unreadable: Mapping[str, str] = {}
    """By address or name: the reason. No pool can own such a device."""


class DiscoveryResult(msgspec.Struct, frozen=True):
    """The result of one discovery."""

    node: NodeInventory = NodeInventory()
    links: Mapping[int, LinkState] = {}
    """Links of our network namespace, by index; read only if there are network functions."""
    problems: tuple[Problem, ...] = ()
    """Devices that can't be described, and facts that are missing for all devices."""
    failed: str | None = None
    """Reason why the discovery failed; the previous result stays valid."""
    held: ResourceHolders | None = None
    """Devices that pods use; None if that was not requested."""
    discovered: frozenset[Bdf] | None = None
    """Functions that were read; None: all, and a function that is missing from ``node`` is gone."""

"""The links of our network namespace: as a look found them, and what the kernel said since.

A look dumps them in a process of its own (a dump waits for the rtnl lock), and the kernel tells
every change meanwhile. What was told since a look began is newer than what the look says, or equal
to it: told changes come in order, and a lost one leads to another look.
"""

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from rbln_supervisor.core.node import Node
from rbln_worker.contract.device import Bdf, Device, LinkState


class Links(msgspec.Struct, frozen=True):
    """By index; a link keeps its index under another name."""

    known: Mapping[int, LinkState] = {}
    told: Mapping[int, LinkState | None] = {}
    """Since the look on its way began; None: it is gone, or in another namespace."""

    def begin(self) -> "Links":
        """A look begins."""
        return msgspec.structs.replace(self, told={})

    def looked(self, dump: Mapping[int, LinkState]) -> "Links":
        """It has ended."""
        return Links(_applied(dump, self.told))

    def hear(self, index: int, state: LinkState | None) -> "Links":
        """The kernel tells of a link."""
        news = {index: state}
        return Links(_applied(self.known, news), {**self.told, **news})

    def by_name(self) -> Mapping[str, LinkState]:
        """What there is to know of each interface."""
        return {state.name: state for state in self.known.values()}


def carrier_of(device: Device, links: Mapping[str, LinkState]) -> LinkState | None:
    """The link that a device's traffic passes: its PF's, or its own where it has no PF.

    None: none that is known here, as one that lies in a container's namespace.
    """
    if device.network is None:
        return None
    names = (device.pf_name,) if device.pf is not None else device.network.interfaces
    return next((links[name] for name in names if name in links), None)


def linked(device: Device, links: Mapping[str, LinkState]) -> Device:
    """The device with the state of its link."""
    link = carrier_of(device, links)
    return device if device.link == link else msgspec.structs.replace(device, link=link)


def named(node: Node) -> Mapping[str, frozenset[Bdf]]:
    """The interfaces of a node's functions, and whose each is: other links concern nobody."""
    owners: defaultdict[str, set[Bdf]] = defaultdict(set)
    for function in node.functions.values():
        if function.pf is not None and function.pf_name:
            owners[function.pf_name].add(function.pf)
        for interface in function.network.interfaces if function.network else ():
            owners[interface].add(function.bdf)
    for bdf, several in node.subfunctions.items():
        for one in several:
            for interface in (one.pf_name, *one.network.interfaces):
                owners[interface].add(bdf)
    return {interface: frozenset(functions) for interface, functions in owners.items()}


def _applied(
    known: Mapping[int, LinkState], news: Mapping[int, LinkState | None]
) -> Mapping[int, LinkState]:
    after = {**known, **news}
    return {index: state for index, state in after.items() if state is not None}

"""The links of our network namespace: the last dump, updated by kernel events.

A discovery dumps them in a separate process (a dump waits for the rtnl lock), and the kernel
reports every change meanwhile. Events since the start of a discovery are newer than its dump, or
equal to it: events come in order, and a lost one causes another discovery.
"""

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Bdf, Carrier, Device, LinkState
from rbln_worker.contract.inventory import NodeInventory

_LAGS = frozenset({"bond", "team"})
"""Kinds of links whose members fail over to each other."""


class LinkTable(msgspec.Struct, frozen=True):
    """Current links, by the names of interfaces."""

    states: Mapping[str, LinkState] = {}
    lags: Mapping[str, LinkState] = {}
    """The bond of an eswitch's ports, by each of its uplinks: traffic of VFs leaves by any port."""

    @property
    def names_by_altname(self) -> Mapping[str, str]:
        """Names of interfaces by their alternative names."""
        return {one: link.name for link in self.states.values() for one in link.altnames}


class Links(msgspec.Struct, frozen=True):
    """Links by index; a renamed link keeps its index."""

    known: Mapping[int, LinkState] = {}
    events: Mapping[int, LinkState | None] = {}
    """Events since the start of the running discovery; None: removed, or in another namespace."""

    def scan_started(self) -> "Links":
        """Return the links after the start of a discovery."""
        return msgspec.structs.replace(self, events={})

    def scan_finished(self, dump: Mapping[int, LinkState]) -> "Links":
        """Return the links after the end of a discovery."""
        return Links(_apply_events(dump, self.events))

    def on_event(self, index: int, state: LinkState | None) -> "Links":
        """Return the links after a kernel event."""
        news = {index: state}
        return Links(_apply_events(self.known, news), {**self.events, **news})

    def link_table(self, uplinks: Mapping[str, str]) -> LinkTable:
        """Return the links by name; ``uplinks``: those in switchdev mode, with their switch IDs."""
        members: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for state in self.known.values():
            master = self.known.get(state.master) if state.master is not None else None
            if state.name in uplinks and state.master and master and master.kind in _LAGS:
                members[state.master, uplinks[state.name]].append(state.name)
        return LinkTable(
            {state.name: state for state in self.known.values()},
            {
                name: self.known[master]
                for (master, _), names in members.items()
                if len(names) > 1
                for name in names
            },
        )

    def bond_members(self, index: int, *states: LinkState | None) -> frozenset[str]:
        """Return the names of a bond's members, if one of its states is that of a bond."""
        if all(state is None or state.kind not in _LAGS for state in states):
            return frozenset()
        return frozenset(one.name for one in self.known.values() if one.master == index)


def switchdev_uplinks(node: NodeInventory) -> Mapping[str, str]:
    """Return the uplinks of eswitches in switchdev mode, with their switch IDs."""
    return {
        name: function.network.switch_id
        for function in node.functions.values()
        if function.network is not None and function.network.switch_id
        for name in function.network.own_interfaces
    }


def carriers_of(device: Device, links: LinkTable) -> tuple[Carrier, ...]:
    """Return the links for a device's traffic: its PF's, or its own if no link of a PF is known.

    Empty if none is known here, such as those in a container's namespace. IP over InfiniBand says
    nothing about the port below it.
    """
    network = device.network
    if network is None or network.ib_only:
        return ()
    above = [links.states[name] for name in device.pf_names if name in links.states]
    if not above:
        own = [links.states[name] for name in network.own_interfaces if name in links.states]
        return tuple(
            Carrier(one.name, "own", one.up, one.admin_up) for one in own if not one.infiniband
        )
    forced = device.subfunction is None and device.function.vf_link_state == "enable"
    found: dict[str, Carrier] = {}
    for one in above:
        if lag := links.lags.get(one.name):
            up = lag.up or (forced and lag.admin_up)
            found[lag.name] = Carrier(lag.name, "lag", up, lag.admin_up)
        elif not one.infiniband:
            up = one.up or (forced and one.admin_up)
            found[one.name] = Carrier(one.name, "pf", up, one.admin_up)
    return tuple(found.values())


def with_link_state(device: Device, links: LinkTable) -> Device:
    """Return the device with the states of its links."""
    now = carriers_of(device, links)
    return device if device.carriers == now else msgspec.structs.replace(device, carriers=now)


def interface_owners(node: NodeInventory) -> Mapping[str, frozenset[Bdf]]:
    """Return the interfaces of a node's functions, with their owners; other links are ignored."""
    owners: defaultdict[str, set[Bdf]] = defaultdict(set)
    for function in node.functions.values():
        if function.pf is not None:
            for name in function.pf_names:
                owners[name].add(function.pf)
        for interface in function.network.interfaces if function.network else ():
            owners[interface].add(function.bdf)
    for bdf, several in node.subfunctions.items():
        for one in several:
            for interface in (*one.pf_names, *one.network.interfaces):
                owners[interface].add(bdf)
    return {interface: frozenset(functions) for interface, functions in owners.items()}


def _apply_events(
    known: Mapping[int, LinkState], news: Mapping[int, LinkState | None]
) -> Mapping[int, LinkState]:
    after = {**known, **news}
    return {index: state for index, state in after.items() if state is not None}

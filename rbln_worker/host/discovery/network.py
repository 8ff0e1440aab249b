"""The network functions of the node: facts from sysfs, rtnetlink and devlink."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

import msgspec

from rbln_worker.contract.device import Bdf, Network, PciFunction, Subfunction
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.host.discovery import auxiliary, netdev, vdpa
from rbln_worker.host.discovery.auxiliary import Auxiliary, Unreadable
from rbln_worker.host.discovery.ddp import DdpTool
from rbln_worker.host.discovery.inventory import NETWORK, Needs
from rbln_worker.host.discovery.netdev import Interface
from rbln_worker.host.discovery.pci import Found, Scan
from rbln_worker.host.netlink import rtnetlink
from rbln_worker.host.netlink.devlink import Devlink, KernelDevlink
from rbln_worker.host.netlink.links import LinkTable, Port
from rbln_worker.host.netlink.rtnetlink import NetlinkError, VfLinkState
from rbln_worker.host.sysfs import PCI_DEVICES, list_names

_PACKAGE = "fw.app.name"
"""The name of a loaded DDP package in devlink (Documentation/networking/devlink/ice.rst)."""


def describe_functions(root: str, scan: Scan, needs: Needs) -> DiscoveryResult:
    """Return the functions of a scan, the network functions with all their facts.

    A partial discovery runs because these functions are changing: then drivers hold the rtnl lock,
    for which a dump would wait (a second, seen with igb). So it reads link types from sysfs, and
    leaves link states and routes to full discoveries.
    """
    problems: list[Problem] = []
    links = LinkTable()
    if needs.only is None:
        try:
            links = rtnetlink.read_links(default_routes=needs.default_routes)
        except NetlinkError as error:
            text = f"{error}: link types are sysfs's, default routes are not known"
            problems.append(make_problem(Code.FACTS_UNREADABLE, text))
    ddptool = DdpTool()
    networks = NetworkReader(root, links, Devlink(KernelDevlink()), ddptool, needs)
    functions: dict[Bdf, PciFunction] = {}
    subfunctions: dict[Bdf, tuple[Subfunction, ...]] = {}
    unreadable = dict(scan.unreadable)
    if needs.only is None:
        networks.read_vf_link_states(scan.found.values(), rtnetlink.vf_link_states)
    for bdf, one in scan.found.items():
        if one.function.base_class != NETWORK:
            functions[bdf] = one.function
            continue
        described = networks.describe_function(one)
        functions[bdf] = described.function
        if needs.subfunctions:
            found, strange = networks.list_subfunctions(described)
            unreadable.update(strange)
            if found:
                subfunctions[bdf] = tuple(found)
    problems += (*ddptool.problems, *networks.problems)
    return DiscoveryResult(
        NodeInventory(functions, subfunctions, unreadable),
        links.states,
        tuple(problems),
        discovered=scan.discovered,
    )


_INTEL = "8086"
"""Intel's vendor ID: only its adapters have DDP packages, and ddptool supports no others."""


_SUBFUNCTION = ".sf."
"""Part of a sub-function's name: its function's eswitch is in switchdev mode."""
_ANY_PF = frozenset({"net", "infiniband"})
"""Entries that a PF's folder may have, so that the folder is not listed again."""


VfLinkStates = Callable[[Iterable[int]], Mapping[int, Mapping[int, VfLinkState]]]
"""Indexes of PFs' links → states of their virtual functions, by index."""


class NetworkReader:
    """A reader of functions' network facts, with a cache of those that they share."""

    def __init__(
        self, root: str, links: LinkTable, devlink: Devlink, ddptool: DdpTool, needs: Needs
    ) -> None:
        self._home = f"{root}/{PCI_DEVICES}"
        self._links = links
        self._devlink = devlink
        self._ddptool = ddptool
        self._needs = needs
        self._vdpa = vdpa.scan_vdpa(root)
        self._places = netdev.Places(root)
        self._paths: dict[str, str] = {}
        """Paths of interfaces' folders, by name."""
        self._pfs: dict[Bdf, Network] = {}
        self._packages: dict[Bdf, str] = {}
        self._of_path: dict[str, Network] = {}
        """Interfaces by the path of their function or sub-function."""
        self._types: dict[str, str] = {}
        self._enabled: frozenset[str] | None = None
        self._vf_states: Mapping[int, Mapping[int, VfLinkState]] = {}
        self.problems: list[Problem] = []

    def read_vf_link_states(self, functions: Iterable[Found], read: VfLinkStates) -> None:
        """Read the link states of virtual functions from their PFs, if there are any."""
        network = (one.function for one in functions if one.function.base_class == NETWORK)
        pfs = {function.pf for function in network if function.pf is not None}
        indexes = (
            self._links.indexes.get(name)
            for pf in sorted(pfs)
            for name in self._pf_facts(pf).own_interfaces
        )
        known = [index for index in indexes if index is not None]
        if known:
            self._vf_states = read(known)

    def describe_function(self, one: Found) -> Found:
        """Return the function with its network facts."""
        function = one.function
        pf = self._pf_facts(function.pf) if function.pf is not None else Network()
        asked = function.bdf if function.has_vfs else None
        network = self._network_facts(one.path, one.entries, function.bdf, pf, asked)
        if self._needs.ddp_profiles:
            network = msgspec.structs.replace(network, ddp_profile=self._adapter_profile(one))
        return one._replace(
            function=msgspec.structs.replace(
                function,
                pf_names=pf.own_interfaces,
                network=network,
                vf_link_state=self._vf_link_state(pf, function.index),
            )
        )

    def list_subfunctions(self, one: Found) -> tuple[list[Subfunction], list[Unreadable]]:
        """Return the sub-functions of a function, and those that can't be described."""
        found: list[Subfunction] = []
        unreadable: list[Unreadable] = []
        network = one.function.network or Network()
        for entry in auxiliary.scan_auxiliary(one.path, one.entries):
            match entry:
                case Unreadable():
                    unreadable.append(entry)
                case Auxiliary(name=name) if not network.interfaces:
                    why = f"its PCI function {one.function.bdf} has no network interface"
                    unreadable.append(Unreadable(name, why))
                case Auxiliary():
                    found.append(self._describe_subfunction(entry, one, network))
        return found, unreadable

    def _describe_subfunction(self, one: Auxiliary, parent: Found, pf: Network) -> Subfunction:
        return Subfunction(
            name=one.name,
            kind=one.kind,
            number=one.number,
            pf=parent.function.bdf,
            pf_names=pf.own_interfaces,
            network=self._network_facts(one.path, list_names(one.path), one.name, pf, None),
        )

    def _network_facts(
        self, path: str, entries: Collection[str], name: str, pf: Network, asked: Bdf | None
    ) -> Network:
        """Return the network facts; ``pf`` fills in for a missing interface or RDMA device."""
        links = self._cached_division(path, entries, asked)
        rdma = netdev.list_rdma_devices(path, entries)
        named = links.own_interfaces or links.interfaces
        link_type = self._link_type(named[0]) if named else pf.link_type
        ib_ports, ib_only = netdev.ib_ports(path, rdma) if rdma else (pf.ib_ports, pf.ib_only)
        return msgspec.structs.replace(
            links,
            link_type=link_type,
            pkey=netdev.partition_key(path, rdma) if link_type == "infiniband" else "",
            rdma=rdma,
            rdma_capable=bool(rdma) or (self._needs.rdma and name in self._rdma_enabled()),
            ib_ports=ib_ports,
            ib_only=ib_only,
            vdpa=self._vdpa.get(name),
            default_route=self._needs.default_routes
            and not self._links.carriers.isdisjoint(links.interfaces),
        )

    def _link_type(self, interface: str) -> str:
        known = self._links.types.get(interface)
        if known is None and interface not in self._types:
            self._types[interface] = netdev.link_type(self._paths[interface])
        return known or self._types[interface]

    def _cached_division(self, path: str, entries: Collection[str], asked: Bdf | None) -> Network:
        """Return the interfaces of a function; ``asked``: the PF whose eswitch mode to read."""
        if path not in self._of_path:
            places = self._places.list_interfaces(path, entries)
            self._paths.update(places)
            found = self._divide_interfaces(places, entries, asked) if places else Network()
            self._of_path[path] = found
        return self._of_path[path]

    def _divide_interfaces(
        self, places: tuple[Interface, ...], entries: Iterable[str], asked: Bdf | None
    ) -> Network:
        interfaces = tuple(place.name for place in places)
        switchdev = self._devlink.is_switchdev(asked) if asked else None
        known = self._links.ports
        several = len(places) > 1 or switchdev or _SUBFUNCTION in " ".join(entries)
        if not several and interfaces[0] not in known:
            return Network(interfaces)
        ports = {
            place.name: known.get(place.name)
            or (netdev.read_port(place.path) if several else Port())
            for place in places
        }
        if asked and switchdev is None and several and any(one.switch_id for one in ports.values()):
            text = (
                f"the eswitch mode of {asked} can't be read (devlink needs CAP_NET_ADMIN): "
                "its uplink is the interface whose phys_port_name is p<N>"
            )
            self.problems.append(make_problem(Code.ESWITCH_MODE_UNKNOWN, text, asked))
        others = netdev.find_representors(ports, switchdev=switchdev)
        is_switchdev = switchdev or (switchdev is None and bool(others))
        ids = (ports[name].switch_id for name in interfaces if name not in others)
        switch_id = next(filter(None, ids), "") if is_switchdev else ""
        return Network(interfaces, representors=tuple(sorted(others)), switch_id=switch_id)

    def _pf_facts(self, bdf: Bdf) -> Network:
        if bdf not in self._pfs:
            path = f"{self._home}/{bdf}"
            self._pfs[bdf] = self._network_facts(path, _ANY_PF, bdf, Network(), bdf)
        return self._pfs[bdf]

    def _vf_link_state(self, pf: Network, number: int | None) -> Literal["", VfLinkState]:
        states = (
            self._vf_states.get(self._links.indexes.get(name, 0), {}) for name in pf.own_interfaces
        )
        found = (one[number] for one in states if number is not None and number in one)
        return next(found, "")

    def _rdma_enabled(self) -> frozenset[str]:
        if self._enabled is None:
            self._enabled = self._devlink.rdma_enabled()
        return self._enabled

    def _adapter_profile(self, one: Found) -> str:
        """Return the adapter's profile, from its PF; if the PF has none, from the function."""
        function = one.function
        for bdf in (function.pf, function.bdf) if function.pf else (function.bdf,):
            if bdf not in self._packages:
                self._packages[bdf] = self._loaded_package(bdf, function.vendor)
            if self._packages[bdf]:
                return self._packages[bdf]
        return ""

    def _loaded_package(self, bdf: Bdf, vendor: str) -> str:
        name = self._devlink.running_version(bdf, _PACKAGE)
        return name or (self._ddptool.loaded_package(bdf) if vendor == _INTEL else "")

"""The network functions of the node: what sysfs, rtnetlink and devlink say of each, together."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from rbln_worker.contract.device import Bdf, Network, PciFunction, Subfunction
from rbln_worker.host import auxiliary, netdev, rtnetlink, vdpa
from rbln_worker.host.auxiliary import Auxiliary
from rbln_worker.host.ddp import DdpTool
from rbln_worker.host.devlink import Devlink, Kernel
from rbln_worker.host.inventory import NETWORK, Inventory, Needs, Unreadable
from rbln_worker.host.links import Links
from rbln_worker.host.pci import Found, Scan
from rbln_worker.host.rtnetlink import NoNetlink
from rbln_worker.host.sysfs import PCI_DEVICES, names

_PACKAGE = "fw.app.name"
"""What a driver calls a loaded DDP package (Documentation/networking/devlink/ice.rst)."""


def describe(root: str, scan: Scan, needs: Needs) -> Inventory:
    """The functions of a scan, the network functions among them with all that belongs to them.

    A look at a few of them is on its way because something happens to them now: then drivers hold
    the rtnl lock, for which a dump would wait (a second, seen with igb). So it asks sysfs for link
    types, and leaves states and routes to whole looks.
    """
    problems: list[str] = []
    links = Links()
    if needs.only is None:
        try:
            links = rtnetlink.read(default_routes=needs.default_routes)
        except NoNetlink as error:
            problems.append(f"{error}: link types are sysfs's, default routes are not known")
    ddptool = DdpTool()
    networks = Networks(root, links, Devlink(Kernel()), ddptool, needs)
    functions: list[PciFunction] = []
    subfunctions: dict[Bdf, tuple[Subfunction, ...]] = {}
    unreadable = list(scan.unreadable)
    for bdf, one in scan.found.items():
        if one.function.base_class != NETWORK:
            functions.append(one.function)
            continue
        described = networks.function(one)
        functions.append(described.function)
        if needs.subfunctions:
            found, strange = networks.subfunctions(described)
            unreadable += strange
            if found:
                subfunctions[bdf] = tuple(found)
    problems += ddptool.problems
    return Inventory(
        functions=tuple(functions),
        subfunctions=subfunctions,
        unreadable=tuple(unreadable),
        problems=tuple(problems),
        links=links.states,
        looked=scan.looked,
    )


_INTEL = "8086"
"""Only their adapters have DDP packages, and ddptool knows no others."""


class _Pf(NamedTuple):
    """What a PF's functions share."""

    name: str
    link_type: str


class Networks:
    """Describes functions one after the other, and remembers what they share."""

    def __init__(
        self, root: str, links: Links, devlink: Devlink, ddptool: DdpTool, needs: Needs
    ) -> None:
        self._home = f"{root}/{PCI_DEVICES}"
        self._links = links
        self._devlink = devlink
        self._ddptool = ddptool
        self._needs = needs
        self._vdpa = vdpa.scan(root)
        self._pfs: dict[Bdf, _Pf] = {}
        self._packages: dict[Bdf, str] = {}
        self._interfaces: dict[str, tuple[str, ...]] = {}
        self._types: dict[str, str] = {}
        self._enabled: frozenset[str] | None = None

    def function(self, one: Found) -> Found:
        """The same function with its network facts."""
        function = one.function
        pf = self._pf(function.pf) if function.pf is not None else _Pf("", "")
        network = self._network(one.path, one.entries, function.bdf, pf.link_type)
        if self._needs.ddp_profiles:
            network = msgspec.structs.replace(network, ddp_profile=self._profile(one))
        return one._replace(
            function=msgspec.structs.replace(function, pf_name=pf.name, network=network)
        )

    def subfunctions(self, one: Found) -> tuple[list[Subfunction], list[Unreadable]]:
        """The sub-functions of a function, and those that can't be described."""
        found: list[Subfunction] = []
        unreadable: list[Unreadable] = []
        network = one.function.network or Network()
        pf_name: str | None = None
        for entry in auxiliary.scan(one.path, one.entries):
            match entry:
                case Unreadable():
                    unreadable.append(entry)
                case Auxiliary(name=name) if not network.interfaces:
                    why = f"its PCI function {one.function.bdf} has no network interface"
                    unreadable.append(Unreadable(name, why))
                case Auxiliary():
                    if pf_name is None:
                        uplink = netdev.uplink(one.path, network.interfaces)
                        pf_name = uplink or network.interfaces[0]
                    found.append(self._subfunction(entry, one, pf_name))
        return found, unreadable

    def _subfunction(self, one: Auxiliary, parent: Found, pf_name: str) -> Subfunction:
        entries = names(one.path)
        link_type = self._type(parent.path, pf_name)
        return Subfunction(
            name=one.name,
            kind=one.kind,
            number=one.number,
            pf=parent.function.bdf,
            pf_name=pf_name,
            network=self._network(one.path, entries, one.name, link_type),
        )

    def _network(self, path: str, entries: Iterable[str], name: str, otherwise: str) -> Network:
        """``otherwise``: the type of a link that there is none of, the PF's."""
        interfaces = self._names(path) if "net" in entries else ()
        rdma = netdev.rdma(path, entries)
        link_type = self._type(path, interfaces[0]) if interfaces else otherwise
        return Network(
            interfaces=interfaces,
            link_type=link_type,
            pkey=netdev.pkey(path, rdma) if link_type == "infiniband" else "",
            rdma=rdma,
            rdma_capable=bool(rdma) or (self._needs.rdma and name in self._rdma_enabled()),
            vdpa=self._vdpa.get(name),
            default_route=self._needs.default_routes
            and not self._links.carriers.isdisjoint(interfaces),
        )

    def _type(self, path: str, interface: str) -> str:
        known = self._links.types.get(interface)
        if known is None and interface not in self._types:
            self._types[interface] = netdev.link_type(path, interface)
        return known or self._types[interface]

    def _names(self, path: str) -> tuple[str, ...]:
        if path not in self._interfaces:
            self._interfaces[path] = netdev.interfaces(path)
        return self._interfaces[path]

    def _pf(self, bdf: Bdf) -> _Pf:
        if bdf not in self._pfs:
            path = f"{self._home}/{bdf}"
            interfaces = self._names(path)
            if interfaces and self._devlink.is_switchdev(bdf):
                name = netdev.uplink(path, interfaces) or ""
            else:
                name = interfaces[0] if interfaces else ""
            self._pfs[bdf] = _Pf(name, self._type(path, name) if name else "")
        return self._pfs[bdf]

    def _rdma_enabled(self) -> frozenset[str]:
        if self._enabled is None:
            self._enabled = self._devlink.rdma_enabled()
        return self._enabled

    def _profile(self, one: Found) -> str:
        """The adapter's, as its PF says; a function whose PF says nothing is asked itself."""
        function = one.function
        for bdf in (function.pf, function.bdf) if function.pf else (function.bdf,):
            if bdf not in self._packages:
                self._packages[bdf] = self._package(bdf, function.vendor)
            if self._packages[bdf]:
                return self._packages[bdf]
        return ""

    def _package(self, bdf: Bdf, vendor: str) -> str:
        name = self._devlink.running(bdf, _PACKAGE)
        return name or (self._ddptool.package(bdf) if vendor == _INTEL else "")

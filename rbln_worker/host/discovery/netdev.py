"""Facts of a network function from sysfs: interfaces, RDMA devices, representors."""

import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

from rbln_worker.host.discovery import auxiliary
from rbln_worker.host.netlink import links
from rbln_worker.host.netlink.links import Port
from rbln_worker.host.sysfs import list_names, read_optional

_CLASS: Final = "sys/class/net"

_UPLINK: Final = re.compile(r"p[0-9]+(s[0-9]+)?")
"""The port name of an uplink, including split ports (net/devlink/port.c)."""
_REPRESENTOR: Final = re.compile(r"(c[0-9]+)?pf[0-9]+.*")
"""Port names of representors: pf0, pf0vf1, pf0sf88, c1pf0vf2, and pf0hpf of older kernels."""
_PKEY: Final = re.compile(r"0x[0-9a-fA-F]{1,4}")


class Interface(NamedTuple):
    """An interface of a device."""

    name: str
    path: str
    """Its folder."""


class Places:
    """The folders of interfaces, below a device or below a child that its driver creates.

    Those of virtio_net are below ``virtio0``, those of a vDPA device that the node uses itself are
    deeper. The entry in /sys/class/net has the path.
    """

    def __init__(self, root: str) -> None:
        home = f"{root}/{_CLASS}"
        self._below: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        """Path below the device and name of each interface, by function or sub-function."""
        for name in list_names(home):
            owner = auxiliary.find_owner(f"{home}/{name}")
            if owner is not None and owner.between != "net":
                self._below[owner.name].append((f"{owner.between}/{name}", name))

    def list_interfaces(self, path: str, entries: Container[str]) -> tuple[Interface, ...]:
        """Return the interfaces of a function or sub-function, sorted by name.

        ``entries`` are the names in its folder.
        """
        direct = list_names(f"{path}/net") if "net" in entries else ()
        found = {name: Interface(name, f"{path}/net/{name}") for name in direct}
        for below, name in self._below.get(os.path.basename(path), ()):
            place = f"{path}/{below}"
            if os.path.isdir(place):
                found[name] = Interface(name, place)
        return tuple(found[name] for name in sorted(found))


def list_rdma_devices(path: str, entries: Iterable[str]) -> tuple[str, ...]:
    """Return the names of its RDMA devices, sorted."""
    return list_names(f"{path}/infiniband") if "infiniband" in entries else ()


def partition_key(path: str, rdma_devices: tuple[str, ...]) -> str:
    """Return the partition key at index 0 of the first RDMA device's first port; empty if none."""
    if not rdma_devices:
        return ""
    key = read_optional(f"{path}/infiniband/{rdma_devices[0]}/ports/1/pkeys/0")
    return key if _PKEY.fullmatch(key) else ""


def ib_ports(path: str, rdma_devices: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the InfiniBand ports (``mlx5_0/1``), and True if no port is Ethernet."""
    found: list[str] = []
    is_ethernet = False
    for device in rdma_devices:
        for port in list_names(f"{path}/infiniband/{device}/ports"):
            layer = read_optional(f"{path}/infiniband/{device}/ports/{port}/link_layer")
            if layer == "InfiniBand":
                found.append(f"{device}/{port}")
            elif layer == "Ethernet":
                is_ethernet = True
    return tuple(found), bool(found) and not is_ethernet


def find_representors(ports: Mapping[str, Port], *, switchdev: bool | None) -> frozenset[str]:
    """Return the interfaces of a function that are representors of other functions.

    Args:
        ports: ports by interface name.
        switchdev: the mode of its eswitch; None if it is unknown: port names decide.
    """
    uplinks = {name for name, port in ports.items() if port.switch_id and is_uplink(port)}
    match switchdev:
        case False:
            return frozenset()
        case True:
            # In old kernels the uplink's port had no name.
            own = uplinks | {name for name, port in ports.items() if port == Port(port.switch_id)}
            return frozenset(name for name in ports if name not in own or not ports[name].switch_id)
        case None if uplinks:
            return frozenset(ports.keys() - uplinks)
        case None:
            return frozenset(
                name
                for name, port in ports.items()
                if _REPRESENTOR.fullmatch(port.name) or (port.switch_id and port.name)
            )


def is_uplink(port: Port) -> bool:
    """Return True for the name of a physical port."""
    return _UPLINK.fullmatch(port.name) is not None


def read_port(path: str) -> Port:
    """Return the port of an interface from sysfs, if rtnetlink does not describe it.

    A read takes the rtnl lock (net/core/net-sysfs.c), so only a few are read.
    """
    return Port(read_optional(f"{path}/phys_switch_id"), read_optional(f"{path}/phys_port_name"))


def link_type(path: str) -> str:
    """Return the type of an interface that rtnetlink does not know; empty if it is unknown."""
    kind = read_optional(f"{path}/type")
    return links.type_name(int(kind)) if kind.isdecimal() else ""

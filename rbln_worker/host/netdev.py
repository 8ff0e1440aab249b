"""What sysfs says of a network function: interfaces, RDMA devices, representors."""

import re
from collections.abc import Iterable
from typing import Final

from rbln_worker.host import links
from rbln_worker.host.sysfs import attribute, names

_UPLINK: Final = re.compile(r"p[0-9]+")
"""An uplink's ``phys_port_name``; representors of functions have pf0vf1 and the like."""
_PKEY: Final = re.compile(r"0x[0-9a-fA-F]{1,4}")


def interfaces(path: str) -> tuple[str, ...]:
    """The names of a device's interfaces in this network namespace, sorted."""
    return names(f"{path}/net")


def rdma(path: str, entries: Iterable[str]) -> tuple[str, ...]:
    """The names of its RDMA devices, sorted."""
    return names(f"{path}/infiniband") if "infiniband" in entries else ()


def pkey(path: str, rdma_devices: tuple[str, ...]) -> str:
    """The partition key at index 0 of the first RDMA device's first port, or nothing."""
    if not rdma_devices:
        return ""
    try:
        key = attribute(f"{path}/infiniband/{rdma_devices[0]}/ports/1/pkeys/0")
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""
    return key if _PKEY.fullmatch(key) else ""


def uplink(path: str, candidates: Iterable[str]) -> str | None:
    """The interface of a switchdev eswitch that is its way out, among a function's own.

    It has a switch id, and a port name of its kind or none; representors have others. Asking
    takes the rtnl lock (net/core/net-sysfs.c), which is why it is asked only here.
    """
    for name in candidates:
        own = f"{path}/net/{name}"
        if not _text(f"{own}/phys_switch_id"):
            continue
        port = _text(f"{own}/phys_port_name")
        if port is None or _UPLINK.fullmatch(port):
            return name
    return None


def link_type(path: str, name: str) -> str:
    """The type of an interface that rtnetlink does not know, or nothing."""
    try:
        return links.word(int(attribute(f"{path}/net/{name}/type")))
    except (OSError, ValueError):
        return ""


def _text(path: str) -> str | None:
    try:
        return attribute(path)
    except (OSError, ValueError):
        return None  # EOPNOTSUPP: the driver has none

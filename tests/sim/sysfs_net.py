"""What network drivers show in sysfs: interfaces, RDMA devices, subfunctions, vDPA devices.

Kernel: Documentation/ABI/testing/sysfs-class-net, stable/sysfs-class-infiniband; the verbs and mad
classes name their device in a file ``ibdev``.
"""

from typing import Final

from tests.sim.device import Rdma, Subfunction, Vdpa
from tests.sim.parts import Parts, joined

_ETHER: Final = 1
"""ARPHRD_ETHER, the link type in ``net/<if>/type``."""


def interfaces(names: tuple[str, ...], home: str) -> Parts:
    """Interfaces of a device, or of a child of it, that are Ethernet, up and have a carrier."""
    return joined(*(_interface(name, home) for name in names))


def _interface(name: str, home: str) -> Parts:
    own = f"{home}/net/{name}"
    return Parts(
        files={
            f"{own}/type": f"{_ETHER}\n",
            f"{own}/operstate": "up\n",
            f"{own}/carrier": "1\n",
            f"{own}/uevent": f"INTERFACE={name}\n",
        },
        links={f"/sys/class/net/{name}": own, f"{own}/device": home},
    )


def rdma(device: Rdma, home: str) -> Parts:
    """An RDMA device with its verbs and mad devices, and their nodes below /dev."""
    own = f"{home}/infiniband/{device.name}"
    files = {
        f"{own}/node_type": "1: CA\n",
        f"{own}/ports/1/pkeys/0": "0xffff\n",
        f"{own}/ports/1/link_layer": f"{device.link_layer}\n",
        f"{own}/ports/1/state": "4: ACTIVE\n",
        f"{own}/ports/1/phys_state": "5: LinkUp\n",
    }
    links = {f"/sys/class/infiniband/{device.name}": own, f"{own}/device": home}
    names = (
        ("infiniband_verbs", f"uverbs{device.n}"),
        ("infiniband_mad", f"umad{device.n}"),
        ("infiniband_mad", f"issm{device.n}"),
    )
    for group, name in names:
        files[f"{home}/{group}/{name}/ibdev"] = f"{device.name}\n"
        links[f"/sys/class/{group}/{name}"] = f"{home}/{group}/{name}"
        links[f"{home}/{group}/{name}/device"] = home
    nodes = {f"infiniband/{name}" for _, name in names} | {"infiniband/rdma_cm"}
    return Parts(files, links, frozenset(nodes))


def subfunction(sf: Subfunction, home: str) -> Parts:
    """An auxiliary device below the physical function whose directory is ``home``."""
    own = f"{home}/{sf.name}"
    driver_name = sf.name.rsplit(".", 1)[0]
    driver = f"/sys/bus/auxiliary/drivers/{driver_name}"
    bus = Parts(
        files={
            f"{own}/sfnum": f"{sf.sfnum}\n",
            f"{own}/uevent": f"DRIVER={driver_name}\nMODALIAS=auxiliary:{driver_name}\n",
        },
        links={
            f"{own}/driver": driver,
            f"{driver}/{sf.name}": own,
            f"/sys/bus/auxiliary/devices/{sf.name}": own,
        },
    )
    return joined(
        bus,
        interfaces(sf.net, own),
        *([rdma(sf.rdma, own)] if sf.rdma is not None else []),
    )


def vdpa(device: Vdpa, home: str) -> Parts:
    """A vDPA device (Documentation/ABI/testing/sysfs-bus-vdpa); vhost_vdpa gives it a node."""
    own = f"{home}/{device.name}"
    files = {f"{own}/uevent": f"DRIVER={device.driver}\n" if device.driver else ""}
    links = {f"/sys/bus/vdpa/devices/{device.name}": own}
    nodes: frozenset[str] = frozenset()
    if device.driver is not None:
        links[f"{own}/driver"] = f"/sys/bus/vdpa/drivers/{device.driver}"
    if device.driver == "vhost_vdpa":
        node = f"vhost-vdpa-{device.n}"
        files[f"{own}/{node}/uevent"] = f"DEVNAME={node}\n"
        nodes = frozenset({node})
    return Parts(files, links, nodes)

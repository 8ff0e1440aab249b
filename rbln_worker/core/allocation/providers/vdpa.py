"""A vDPA device of a function (Documentation/ABI/testing/sysfs-bus-vdpa)."""

import re
from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import DirEntries, HostFacts, Need, Unread
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Provider,
    ProviderInput,
    same_path,
)

_NODE_NAME: Final = re.compile(r"vhost-vdpa-[0-9]{1,6}")


def applies_to(device: Device, _: PoolSpec) -> bool:
    """Select devices of a selector with a vdpaType that have a vDPA device."""
    return bool(device.grants.vdpa) and device.network is not None and bool(device.network.vdpa)


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the read of the vDPA device's folder: one entry has the name of the node."""
    return tuple(_vdpa_entries(device))


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the node of a vhost device; a virtio device is an interface and needs none."""
    network = source.device.network
    if network is None or network.vdpa is None or network.vdpa.kind != "vhost":
        return ContainerEdits(info={"vdpa": {}})
    path = vhost_path(source.device, source.facts)
    if isinstance(path, Unread):
        return ContainerEdits(info={"vdpa": {}}, faults=(f"no vhost-vdpa node ({path.why})",))
    return ContainerEdits(nodes=(same_path(path),), info={"vdpa": {"mount": path}})


def vhost_path(device: Device, facts: HostFacts) -> str | Unread:
    """Return the path of the node of a device's vhost-vdpa device."""
    why = "it has no vDPA device"
    for folder in _vdpa_entries(device):
        names = facts.dir_entries(folder)
        if isinstance(names, Unread):
            return names
        for name in names:
            if _NODE_NAME.fullmatch(name):
                return f"/dev/{name}"
        why = f"{folder.path}: no vhost-vdpa-N in it"
    return Unread(why)


def _vdpa_entries(device: Device) -> tuple[DirEntries, ...]:
    network = device.network
    if network is None or network.vdpa is None:
        return ()
    return (DirEntries(f"/sys/bus/vdpa/devices/{network.vdpa.name}"),)


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)

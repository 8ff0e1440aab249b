"""A network function's device-info file (NPWG, Device Information Specification 1.1.0).

Multus and the CNI plugins read it when they set up a pod; only netDevice pools have it.
"""

import json
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.providers import rdma, vdpa
from rbln_worker.core.allocation.providers.provider import ProviderInput

FOLDER: Final = "/var/run/k8s.cni.cncf.io/devinfo/dp"
MODE: Final = 0o444
_VERSION: Final = "1.1.0"


class DeviceInfo(msgspec.Struct, frozen=True):
    """A file of the host, and its text."""

    name: str
    """The name in FOLDER."""
    text: str


def file_name(pool: PoolSpec, device: DeviceId) -> str:
    """Return the file's name; a slash in any part becomes a dash."""
    return f"{pool.prefix}-{pool.resource}-{device}-device.json".replace("/", "-")


def device_info(source: ProviderInput) -> DeviceInfo | None:
    """Return the file of a device; None if its pool has no such files.

    The order of the keys is the reference's.
    """
    device, pool = source.device, source.pool
    if pool.device_type != "netDevice":
        return None
    told = _vdpa_section(source) if vdpa.applies_to(device, pool) else _pci_section(source)
    return DeviceInfo(
        file_name(pool, device.id), json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    )


def _pci_section(source: ProviderInput) -> dict[str, object]:
    section: dict[str, str] = {"pci-address": source.device.function.bdf}
    if source.device.grants.rdma and (names := rdma.rdma_devices(source.device, source.facts)):
        section["rdma-device"] = ",".join(names)
    return {"type": "pci", "version": _VERSION, "pci": section}


def _vdpa_section(source: ProviderInput) -> dict[str, object]:
    network = source.device.network
    section: dict[str, str] = {}
    if network is not None and network.vdpa is not None:
        section = {"parent-device": network.vdpa.name, "driver": network.vdpa.kind}
        path = vdpa.vhost_path(source.device, source.facts)
        if network.vdpa.kind == "vhost" and isinstance(path, str):
            section["path"] = path
    section["pci-address"] = source.device.function.bdf
    return {"type": "vdpa", "version": _VERSION, "vdpa": section}

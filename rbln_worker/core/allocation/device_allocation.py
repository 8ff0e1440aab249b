"""Container contents for allocated devices: nodes, mounts and environment variables."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.allocation.devinfo import DeviceInfo, device_info
from rbln_worker.core.allocation.host_facts import HostFacts
from rbln_worker.core.allocation.providers.provider import DeviceNode, Mount, ProviderInput
from rbln_worker.core.allocation.providers.registry import providers_for


class DeviceAllocation(msgspec.Struct, frozen=True):
    """A device's share of the answer to Allocate, and reasons not to allocate it."""

    id: DeviceId
    nodes: tuple[DeviceNode, ...]
    """The device nodes, each host path once."""
    mounts: tuple[Mount, ...]
    info: str
    """The device's member of the ``_INFO`` object: ``"<id>":{…}``."""
    faults: tuple[str, ...] = ()
    busy: str = ""
    """The reason why the device can't be allocated now although it is healthy; empty if it can."""
    file: DeviceInfo | None = None
    """Its device-info file, if its pool has such files."""
    details: Mapping[str, str] = {}
    """Texts of its driver's files by name, for ResourceSlices; empty in device-plugin pools."""


class EnvNames(msgspec.Struct, frozen=True):
    """Names of the three environment variables of a pool."""

    resource: str
    """``PCI_RESOURCE_…``: read by KubeVirt."""
    devices: str
    info: str


def build_allocation(source: ProviderInput) -> DeviceAllocation:
    """Combine the offers of the device's providers."""
    offers = [one.container_edits(source) for one in providers_for(source.device, source.pool)]
    sections = {name: dict(keys) for offer in offers for name, keys in offer.info.items()}
    return DeviceAllocation(
        id=source.device.id,
        nodes=dedupe_by_host_path(node for offer in offers for node in offer.nodes),
        mounts=tuple(dict.fromkeys(mount for offer in offers for mount in offer.mounts)),
        info=f"{go_json(source.device.id)}:{go_json(sections)}",
        faults=tuple(fault for offer in offers for fault in offer.faults),
        busy="; ".join(offer.busy for offer in offers if offer.busy),
        file=device_info(source),
    )


def answer_without_files(device: Device, pool: PoolSpec) -> DeviceAllocation:
    """Return the answer for a device that was not checked yet, from facts without files."""
    return build_allocation(ProviderInput(device, pool, HostFacts()))


def dedupe_by_host_path(nodes: Iterable[DeviceNode]) -> tuple[DeviceNode, ...]:
    """Return the nodes without repeated host paths."""
    kept: dict[str, DeviceNode] = {}
    for node in nodes:
        kept.setdefault(node.host, node)
    return tuple(kept.values())


def env_names(pool: PoolName) -> EnvNames:
    """Return the names as the reference makes them: dots become underscores, dashes stay."""
    word = pool.replace("/", "_").replace(".", "_").upper()
    return EnvNames(f"PCI_RESOURCE_{word}", f"PCIDEVICE_{word}", f"PCIDEVICE_{word}_INFO")


def env_vars(names: EnvNames, ids: Iterable[str], infos: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a container that gets these devices.

    Args:
        names: the pool's variables.
        ids: the device IDs, sorted; one that was requested twice is listed twice.
        infos: DeviceAllocation.info by device ID, for at least these devices.
    """
    listed = tuple(ids)
    joined = ",".join(listed)
    members = ",".join(infos[device] for device in dict.fromkeys(listed))
    return {names.resource: joined, names.devices: joined, names.info: f"{{{members}}}"}


_HTML_SAFE: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def go_json(value: object) -> str:
    """Encode compact JSON with sorted keys, escaped like Go's encoding/json (HTML-safe, UTF-8)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.translate(_HTML_SAFE)

"""The RDMA devices of a function or sub-function (Documentation/infiniband/user_verbs.rst)."""

import re
from collections.abc import Iterator
from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import (
    DirEntries,
    Exists,
    HostFacts,
    Need,
    TextPerEntry,
    Unread,
)
from rbln_worker.core.allocation.providers import vdpa
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Provider,
    ProviderInput,
    same_path,
    sysfs_dir,
)

_MANAGER: Final = Exists("/dev/infiniband/rdma_cm")
_MAD: Final = TextPerEntry("/sys/class/infiniband_mad", "ibdev")
_KINDS: Final = (
    ("ucm", TextPerEntry("/sys/class/infiniband_cm", "ibdev")),
    ("issm", _MAD),
    ("umad", _MAD),
    ("uverbs", TextPerEntry("/sys/class/infiniband_verbs", "ibdev")),
)
"""Part of a node's name, and the folder of its class, in the order of the nodes."""
_KEYS: Final = frozenset({"issm", "umad", "uverbs"})
"""Kinds with a key; a ucm has none in the reference."""
_NODE_NAME: Final = re.compile(r"[a-z_]+[0-9]{1,6}")


def applies_to(device: Device, pool: PoolSpec) -> bool:
    """Select devices of a selector with isRdma that are RDMA-capable, and not used through vDPA."""
    network = device.network
    return (
        device.grants.rdma
        and network is not None
        and network.rdma_capable
        and not vdpa.applies_to(device, pool)
    )


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the reads: the device's current RDMA devices, and the owners of all RDMA nodes."""
    return _rdma_entries(device), _MANAGER, *dict.fromkeys(place for _, place in _KINDS)


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the nodes of each RDMA device, and the connection manager's.

    With several RDMA devices the reference's keys are those of the last one; each also has its own.
    """
    names = rdma_devices(source.device, source.facts)
    if not names:
        return ContainerEdits(
            info={"rdma": {}},
            busy="it has no RDMA device here (a container has it, or no RDMA driver is loaded)",
        )
    keys = {"rdma_dev": names[0]}
    paths: dict[str, None] = {}
    for name in names:
        for key, path in _rdma_nodes(name, source.facts):
            paths.setdefault(path)
            if key:
                keys[key] = path
                if len(names) > 1:
                    keys[f"{name}/{key}"] = path
    faults = () if any("/uverbs" in path for path in paths) else ("no uverbs node belongs to it",)
    return ContainerEdits(
        nodes=tuple(same_path(path) for path in paths), info={"rdma": keys}, faults=faults
    )


def rdma_devices(device: Device, facts: HostFacts) -> tuple[str, ...]:
    """Return the names of a device's RDMA devices in this network namespace, sorted."""
    names = facts.dir_entries(_rdma_entries(device))
    return () if isinstance(names, Unread) else names


def _rdma_nodes(name: str, facts: HostFacts) -> Iterator[tuple[str, str]]:
    """Yield key (empty if there is none) and path of each node."""
    for kind, place in _KINDS:
        for entry, owner in facts.text_per_entry(place).items():
            if kind in entry and owner.strip() == name and _NODE_NAME.fullmatch(entry):
                yield (kind if kind in _KEYS else ""), f"/dev/infiniband/{entry}"
    if facts.path_exists(_MANAGER):
        yield "rdma_cm", _MANAGER.path


def _rdma_entries(device: Device) -> DirEntries:
    return DirEntries(f"{sysfs_dir(device)}/infiniband")


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)

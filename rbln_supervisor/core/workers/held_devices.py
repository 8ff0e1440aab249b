"""Devices that pods hold and that discovery does not find: the entries in their pool's list.

The kubelet shows a pod's device that is missing from the list as Healthy (KEP-4680), so a device
that a pod holds has to be in the list as long as the pod holds it, also right after a start.
"""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.registry import candidates
from rbln_supervisor.core.matching.assign import bound_selectors
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.pool import PoolSpec

UNPLUGGED: Final = "unplugged"
_PCI: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_AUXILIARY: Final = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+\.[0-9]+")
_WITH_INTERFACE: Final = frozenset({"linkTypes", "pKeys", "pfNames", "ddpProfiles"})
"""Selector keys for values of an interface, which may be in a pod's network namespace. RDMA devices
can be there without it (rdma-system(8), exclusive mode)."""


def retained_devices(
    pool: PoolConfig, node: NodeInventory, in_use: Iterable[DeviceId], taken: Container[DeviceId]
) -> Mapping[DeviceId, Device]:
    """Return devices that pods hold and that stay in their pool although selectors do not match.

    These are devices whose selectors need facts that moved into the pod with the device.
    """
    held = {device for device in in_use if device not in taken}
    if not held:
        return {}
    found: dict[DeviceId, Device] = {}
    objects = tuple(bound_selectors([pool], pool.spec.device_type))
    for candidate in candidates(node, pool.spec.device_type):
        device = candidate.device
        if device.id not in held or candidate.refusal is not None:
            continue
        for one in objects:
            if all(_follows_function(device, each) for each in one.compiled.all_mismatches(device)):
                found[device.id] = msgspec.structs.replace(device, grants=one.grants)
                break
    return found


def absent_devices(pool: PoolConfig, in_use: Iterable[DeviceId]) -> Mapping[DeviceId, Device]:
    """Return descriptions of devices that pods hold and that no discovery has found.

    IDs that this pool could not have allocated are left out as errors.
    """
    is_auxiliary = pool.spec.device_type == "auxNetDevice"
    pattern = _AUXILIARY if is_auxiliary else _PCI
    return {
        device: Device(
            device,
            PciFunction(
                Bdf("" if is_auxiliary else device),
                vendor="",
                product="",
                base_class=0,
                driver=None,
                numa_node=None,
            ),
            gone=UNPLUGGED,
        )
        for device in in_use
        if pattern.fullmatch(device)
    }


def held_by_other_export(pool: PoolSpec, holders: Iterable[PodDevice]) -> Mapping[DeviceId, str]:
    """Return the devices that pods hold otherwise than this pool exports them, with the reason.

    After a forced change of an export, or one at a start, pods keep what they were given, and no
    other pod may get it. Only claims are compared with resources: moving a device from one resource
    to another by force is the user's decision.
    """
    return {
        DeviceId(one.device): f"{one.holder} holds it as {one.resource}"
        for one in holders
        if (one.claim or pool.dra)
        and (one.resource, bool(one.claim)) != (pool.name, pool.dra is not None)
    }


def _follows_function(device: Device, objection: Mismatch) -> bool:
    network = device.network
    if network is None or objection.has not in {"", "false"}:
        return False
    return objection.key == "isRdma" or (
        objection.key in _WITH_INTERFACE and not network.interfaces
    )

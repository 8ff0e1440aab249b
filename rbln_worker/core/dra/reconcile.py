"""Steps from the slices that the API server has to those that a pool should have.

Consumers read the slices of the highest generation, once all of them are there. A change of one
slice keeps the generation. A change of several, or of their number, raises it in all of them:
obsolete slices are deleted first, so that no device is advertised twice in a complete generation.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from rbln_worker.contract.health import Verdict
from rbln_worker.core.dra.resource_slice import (
    API_VERSION,
    KIND,
    DeviceTaint,
    ResourceSlice,
    SliceDevice,
    SlicePool,
    SliceSpec,
    node_owner,
)
from rbln_worker.core.dra.slices import DesiredPool, name_prefix, slice_index, split_devices
from rbln_worker.core.dra.taints import device_taints
from rbln_worker.core.kube.api_object import ObjectMeta

_UNPLUGGED = Verdict(healthy=False, source="sysfs")


class SliceAction(msgspec.Struct, frozen=True):
    """One call of the API server."""

    verb: Literal["create", "update", "delete"]
    """An update or deletion needs the slice to have this UID and resource version still."""
    body: ResourceSlice


class StoredSlice(msgspec.Struct, frozen=True):
    """What the API server made of a slice: it drops fields of features that it has not enabled."""

    sent: SliceSpec
    stored: SliceSpec


def plan_actions(
    observed: Iterable[ResourceSlice],
    desired: DesiredPool,
    node_uid: str,
    accepted: Mapping[str, StoredSlice],
) -> tuple[SliceAction, ...]:
    """Return the steps, to be taken in this order until one fails; none if all is as desired.

    Args:
        observed: all slices of this driver and node.
        desired: the pool.
        node_uid: the UID of the Node object, which owns the slices.
        accepted: results of earlier steps, by name of the slice.
    """
    slices = sorted(observed, key=lambda one: one.metadata.name)
    own = [one for one in slices if not is_foreign(one, desired.node, node_uid)]
    generation = max((one.spec.pool.generation for one in own), default=0)
    current = [one for one in own if one.spec.pool.generation == generation]
    advertised = {device.name: device for one in current for device in one.spec.devices}
    devices = tuple(
        _keep_times(device, advertised.get(device.name))
        for device in _with_claimed(desired, advertised)
    )
    chunks = split_devices(devices, _present_partition(current, desired))
    matched: dict[int, ResourceSlice] = {}
    for one in current:
        index = slice_index(one.metadata.name, desired.export.driver, desired.node)
        if index is not None and index < len(chunks):
            matched.setdefault(index, one)

    def spec_of(index: int) -> SliceSpec:
        pool = SlicePool(desired.node, generation, len(chunks))
        return SliceSpec(desired.export.driver, pool, desired.node, chunks[index])

    changed = [
        index for index, one in matched.items() if not _is_stored(one, spec_of(index), accepted)
    ]
    if len(matched) < len(chunks) or len(changed) > 1:
        generation += 1
        changed = list(matched)
    kept = {one.metadata.name for one in matched.values()}
    return (
        *(SliceAction("delete", one) for one in slices if one.metadata.name not in kept),
        *(
            SliceAction("update", _replaced(matched[index], spec_of(index)))
            for index in sorted(changed)
        ),
        *(
            SliceAction("create", _new_slice(index, spec_of(index), node_uid))
            for index in range(len(chunks))
            if index not in matched
        ),
    )


def is_foreign(one: ResourceSlice, node: str, node_uid: str) -> bool:
    """Return True for a slice of this driver and node that another program or node made."""
    owners = [owner.uid for owner in one.metadata.owner_references if owner.kind == "Node"]
    return one.spec.pool.name != node or owners != [node_uid]


def dropped_fields(
    devices: Iterable[SliceDevice], observed: Iterable[ResourceSlice]
) -> tuple[str, ...]:
    """Return the names of fields of these devices that the API server did not store, sorted."""
    stored = {device.name: device for one in observed for device in one.spec.devices}
    dropped = set()
    for sent in devices:
        got = stored.get(sent.name, SliceDevice(sent.name))
        dropped |= {f"attribute {name}" for name in sent.attributes.keys() - got.attributes.keys()}
        dropped |= {f"capacity {name}" for name in sent.capacity.keys() - got.capacity.keys()}
        if {one.key for one in sent.taints} - {one.key for one in got.taints}:
            dropped.add("taints")
    return tuple(sorted(dropped))


def _with_claimed(
    desired: DesiredPool, advertised: Mapping[str, SliceDevice]
) -> Sequence[SliceDevice]:
    """Return the devices, with those that are unplugged while a claim holds them."""
    wanted = {device.name for device in desired.devices}
    kept = [
        msgspec.structs.replace(device, taints=device_taints(desired.export, _UNPLUGGED))
        for name, device in advertised.items()
        if name in desired.claimed and name not in wanted
    ]
    return (*desired.devices, *sorted(kept, key=lambda device: device.name))


def _keep_times(device: SliceDevice, before: SliceDevice | None) -> SliceDevice:
    """Return the device with the times of taints that it has already."""
    if before is None or not before.taints or not device.taints:
        return device
    times = {(one.key, one.value, one.effect): one.time_added for one in before.taints}
    taints = tuple(
        DeviceTaint(one.key, one.effect, one.value, times.get((one.key, one.value, one.effect)))
        for one in device.taints
    )
    return msgspec.structs.replace(device, taints=taints)


def _present_partition(
    current: Sequence[ResourceSlice], desired: DesiredPool
) -> tuple[tuple[str, ...], ...]:
    """Return the names of devices by slice; empty if slices are missing or contradict others."""
    indexes = [
        slice_index(one.metadata.name, desired.export.driver, desired.node) for one in current
    ]
    names = tuple(tuple(device.name for device in one.spec.devices) for one in current)
    listed = [name for one in names for name in one]
    is_whole = indexes == list(range(len(current))) and len(listed) == len(set(listed))
    return names if is_whole else ()


def _is_stored(one: ResourceSlice, spec: SliceSpec, accepted: Mapping[str, StoredSlice]) -> bool:
    result = accepted.get(one.metadata.name)
    return one.spec == spec or (result is not None and result == StoredSlice(spec, one.spec))


def _replaced(one: ResourceSlice, spec: SliceSpec) -> ResourceSlice:
    return ResourceSlice(one.metadata, spec, API_VERSION, KIND)


def _new_slice(index: int, spec: SliceSpec, node_uid: str) -> ResourceSlice:
    node = spec.node_name
    metadata = ObjectMeta(
        generate_name=name_prefix(index, spec.driver, node),
        owner_references=(node_owner(node, node_uid),),
    )
    return ResourceSlice(metadata, spec, API_VERSION, KIND)

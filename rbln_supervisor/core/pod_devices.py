"""The devices that pods hold: one table merged from the kubelet's sources.

The checkpoint says which pod was given which device by which nodes, and keeps entries of ended pods
until the next allocation. The Pods API and pod-resources say which pods live. In doubt a device
counts as held: an unusable device then stays in the list, and no healthy device is affected.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.messages import PodsHold
from rbln_worker.contract.pod_devices import Pod, PodDevice, PodDevices, PodSource
from rbln_worker.contract.pool import PoolName

SETTLE_TIMEOUT_S: Final = 30.0
"""Seconds after a kubelet's start in which pod-resources may not know a pod: it serves at once, and
has the API server's pods a second or more later (pkg/kubelet/config, sources)."""

Key = tuple[str, str]
"""Resource and device ID: at any time the kubelet has given a device to one pod."""


class PodTable(msgspec.Struct, frozen=True):
    """The pods of a node, from a watch of the Pods API."""

    pods: Mapping[str, Pod] = {}
    """By UID."""
    ended: frozenset[str] = frozenset()
    """UIDs of pods that do not exist any more."""

    def after_sync(self, pods: Mapping[str, Pod], allocations: Iterable[PodDevice]) -> "PodTable":
        """Return the table after an initial list: pods of the checkpoint not in it have ended."""
        missing = {one.uid for one in allocations} - pods.keys()
        return PodTable(pods, frozenset(missing))

    def after_change(self, pod: Pod) -> "PodTable":
        """Return the table after a pod was added or changed."""
        return PodTable({**self.pods, pod.uid: pod}, self.ended - {pod.uid})

    def after_deletion(self, uid: str) -> "PodTable":
        """Return the table after a pod was deleted."""
        return PodTable(
            {one: pod for one, pod in self.pods.items() if one != uid}, self.ended | {uid}
        )

    def without_stale(self, allocations: Iterable[PodDevice]) -> "PodTable":
        """Return the table without ended pods that have no entry in the checkpoint any more."""
        known = {one.uid for one in allocations}
        return self if self.ended <= known else PodTable(self.pods, self.ended & known)


def by_pods(allocations: Iterable[PodDevice], table: PodTable) -> tuple[PodDevice, ...]:
    """Return the devices that living pods hold.

    A pod that is not in the table was just admitted by the kubelet.
    """
    devices: dict[tuple[Key, str], PodDevice] = {}
    for one in allocations:
        pod = table.pods.get(one.uid)
        if one.uid in table.ended or (pod is not None and pod.has_ended):
            continue
        if pod is not None:
            one = _with_pod_name(one, pod)  # noqa: PLW2901
        devices.setdefault(((one.resource, one.device), one.uid), one)
    for pod in table.pods.values():
        if not pod.has_ended:
            for container, resource, device in pod.devices:
                devices.setdefault(
                    ((resource, device), pod.uid),
                    _with_pod_name(
                        PodDevice(resource, device, container=container, uid=pod.uid), pod
                    ),
                )
    return tuple(sorted(devices.values()))


def by_holdings(
    allocations: Iterable[PodDevice],
    holdings: Iterable[PodDevice],
    ended: Container[PodDevice],
) -> tuple[PodDevice, ...]:
    """Return the devices that pod-resources lists, and those that it may not know yet.

    ``ended``: entries of the checkpoint that it would list if their pods lived.
    """
    given = {(one.resource, one.device): one for one in allocations}
    devices: dict[Key, PodDevice] = {}
    for holding in holdings:
        if holding.claim:
            continue
        key = holding.resource, holding.device
        entry = given.get(key) or PodDevice(*key)
        devices.setdefault(
            key,
            msgspec.structs.replace(
                entry,
                namespace=holding.namespace,
                pod=holding.pod,
                container=holding.container,
            ),
        )
    for key, entry in given.items():
        if key not in devices and entry not in ended:
            devices[key] = entry
    return tuple(sorted(devices.values()))


def with_first_seen(
    devices: Iterable[PodDevice], first_seen: Mapping[tuple[Key, str], float]
) -> tuple[PodDevice, ...]:
    """Return the devices; those of unknown age get the time at which they were first seen."""
    return tuple(
        one
        if one.since or holder_key(one) not in first_seen
        else msgspec.structs.replace(one, since=first_seen[holder_key(one)])
        for one in devices
    )


def holder_key(one: PodDevice) -> tuple[Key, str]:
    """Return the key of a device that one pod holds."""
    return (one.resource, one.device), one.uid or f"{one.namespace}/{one.pod}"


def with_claims(
    devices: Iterable[PodDevice], listed: Iterable[PodDevice], prepared: Iterable[PodDevice]
) -> tuple[PodDevice, ...]:
    """Return the devices with those of claims; a pod that is listed needs no second entry.

    Args:
        devices: those without claims.
        listed: those that pod-resources lists.
        prepared: those that drivers have prepared.
    """
    claimed = set(listed)
    known = {(one.resource, one.device, one.namespace, one.pod, one.claim) for one in claimed}
    claimed |= {
        one
        for one in prepared
        if (one.resource, one.device, one.namespace, one.pod, one.claim) not in known
    }
    return tuple(sorted({*devices, *claimed}))


def with_pool_names(
    holders: Iterable[PodDevice], pools: Mapping[str, PoolName]
) -> tuple[PodDevice, ...]:
    """Return holders of devices; claims of a driver in ``pools`` get the name of its pool."""
    return tuple(
        msgspec.structs.replace(one, resource=pools[one.resource])
        if one.claim and one.resource in pools
        else one
        for one in holders
    )


def devices_under_other_names(
    devices: Iterable[PodDevice], pools: Mapping[PoolName, Container[str]]
) -> Mapping[str, tuple[str, ...]]:
    """Return devices of our pools that pods hold under names that no pool has, by that name.

    ``pools``: the devices that each pool lists.
    """
    by_resource: defaultdict[str, set[str]] = defaultdict(set)
    for one in devices:
        if one.resource not in pools and any(one.device in listed for listed in pools.values()):
            by_resource[one.resource].add(one.device)
    return {resource: tuple(sorted(ids)) for resource, ids in sorted(by_resource.items())}


def by_pool(devices: Iterable[PodDevice]) -> Mapping[PoolName, Mapping[DeviceId, PodDevice]]:
    """Return the devices that pods hold, by pool and device; of several holders the first."""
    pools: defaultdict[PoolName, dict[DeviceId, PodDevice]] = defaultdict(dict)
    for one in devices:
        pools[PoolName(one.resource)].setdefault(DeviceId(one.device), one)
    return pools


def pods_hold(pool: PoolName, known: PodDevices) -> PodsHold:
    """Return the devices of pods that a pool's worker needs to know."""
    return PodsHold(
        tuple(one for one in known.devices if one.resource == pool or one.paths),
        is_known=known.source is not PodSource.NONE or not known.problems,
    )


def is_spec_needed(pool: PoolName, known: PodsHold | None) -> bool:
    """Return True if a pod may start a container with the pool's CDI spec, or if unknown."""
    if known is None or not known.is_known:
        return True
    return any(one.resource == pool for one in known.devices)


def holders_of(
    pool: PoolName, devices: Iterable[PodDevice]
) -> Mapping[DeviceId, tuple[PodDevice, ...]]:
    """Return the pods that hold a pool's devices."""
    found: defaultdict[DeviceId, tuple[PodDevice, ...]] = defaultdict(tuple)
    for one in devices:
        if one.resource == pool:
            found[DeviceId(one.device)] += (one,)
    return dict(found)


class Change(NamedTuple):
    """The event that a pod has taken or released a device."""

    device: PodDevice
    is_held: bool


def holder_changes(before: Iterable[PodDevice], after: Iterable[PodDevice]) -> tuple[Change, ...]:
    """Return the changes between two states, releases first.

    A pod counts once its name is known: the checkpoint has it a moment before the Pods API.
    """
    old = {holder_key(one): one for one in before if one.pod}
    new = {holder_key(one): one for one in after if one.pod}
    return (
        *(Change(old[key], is_held=False) for key in sorted(old.keys() - new.keys())),
        *(Change(new[key], is_held=True) for key in sorted(new.keys() - old.keys())),
    )


def _with_pod_name(one: PodDevice, pod: Pod) -> PodDevice:
    return msgspec.structs.replace(one, namespace=pod.namespace, pod=pod.name, since=pod.since)

"""What a pool should be, over time: a device that vanished stays listed, Unhealthy, for a while.

The kubelet shows a container's device that is missing from the list as unknown, and one that is
listed as Unhealthy with its state; a device that comes back within the grace time (a driver that
is reloaded, a function that is reset) was never gone for those who count.
"""

from collections.abc import Container, Mapping

import msgspec

from rbln_supervisor.core.assign import unusable
from rbln_worker.contract.device import Device, DeviceId, PciFunction
from rbln_worker.contract.messages import Delta, Snapshot, ToWorker
from rbln_worker.contract.pool import PoolSpec


class Node(msgspec.Struct, frozen=True):
    """What the last look at the node found."""

    functions: Mapping[str, PciFunction]
    """By address."""
    unreadable: Mapping[str, str]
    """Address → why."""


class Roster(msgspec.Struct, frozen=True):
    """The wanted state of a pool."""

    pool: PoolSpec
    devices: Mapping[DeviceId, Device] = {}
    """Sorted by ID."""
    gone_since: Mapping[DeviceId, float] = {}
    """Of the devices that are gone (monotonic seconds)."""
    generation: int = 0
    """Rises whenever the pool or a device differs from before."""
    changed: tuple[Device, ...] = ()
    removed: tuple[DeviceId, ...] = ()
    """What this generation changed."""
    renewed: bool = True
    """The pool itself changed with this generation."""


def advance(
    before: Roster,
    pool: PoolSpec,
    present: Mapping[DeviceId, Device],
    others: Container[DeviceId],
    node: Node,
    *,
    now: float,
    grace_s: float,
) -> Roster:
    """The roster after a look at the node or a new configuration.

    Args:
        before: the roster so far.
        pool: the pool as it is configured now.
        present: the devices that are assigned to the pool now.
        others: the devices that are assigned to any other pool: they leave this one at once.
        node: what was found.
        now: monotonic seconds.
        grace_s: how long a device that is gone stays listed.
    """
    gone_since = {
        device: since
        for device, value in before.devices.items()
        if device not in present
        and device not in others
        and not _unwanted(value, node)
        and now < (since := before.gone_since.get(device, now)) + grace_s
    }
    gone = {
        device: msgspec.structs.replace(
            before.devices[device], gone=_why_gone(before.devices[device].function, node)
        )
        for device in gone_since
    }
    devices = dict(sorted({**present, **gone}.items()))
    if pool == before.pool and devices == before.devices and before.generation:
        return msgspec.structs.replace(before, gone_since=gone_since)
    return Roster(
        pool=pool,
        devices=devices,
        gone_since=gone_since,
        generation=before.generation + 1,
        changed=tuple(
            device for device in devices.values() if before.devices.get(device.id) != device
        ),
        removed=tuple(sorted(before.devices.keys() - devices.keys())),
        renewed=pool != before.pool,
    )


def message(roster: Roster, session: str, held: int | None) -> ToWorker:
    """What brings a worker that holds generation ``held`` (None: nothing) up to the roster."""
    if held is not None and held == roster.generation - 1 and not roster.renewed:
        return Delta(session, held, roster.generation, roster.changed, roster.removed)
    return Snapshot(session, roster.generation, roster.pool, tuple(roster.devices.values()))


def next_leave(roster: Roster, grace_s: float) -> float | None:
    """When the next device that is gone leaves the list (monotonic seconds)."""
    return min((since + grace_s for since in roster.gone_since.values()), default=None)


def _unwanted(device: Device, node: Node) -> bool:
    """The device is as it was: what changed is the configuration, and that is meant."""
    return device.gone is None and node.functions.get(device.function.bdf) == device.function


def _why_gone(function: PciFunction, node: Node) -> str:
    now = node.functions.get(function.bdf)
    if now is None:
        why = node.unreadable.get(function.bdf)
        return f"can't be read: {why}" if why else "unplugged"
    if why := unusable(now):
        return why
    if now.driver != function.driver:
        return f"driver {now.driver} is bound to it, {function.driver} was"
    return "it changed: no selector of the pool matches it any more"

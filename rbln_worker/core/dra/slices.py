"""The devices that a pool should advertise, and their partition into slices.

A slice has at most MAX_DEVICES devices. The API permits 128, but only 64 if any of them has a
taint; with 64 always, a device that becomes Unhealthy never moves others to another slice. Devices
stay in their slice while the number of slices stays, so that most changes update one slice.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import DraExport, PoolSpec
from rbln_worker.core.dra.attributes import device_properties
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.resource_slice import SliceDevice
from rbln_worker.core.dra.taints import device_taints
from rbln_worker.core.preferred.topology import DeviceTopology, pool_topology

MAX_DEVICES: Final = 64
"""Maximum number of devices of a slice."""
MAX_NAME: Final = 58
"""Length at which the API server cuts a generateName, so that names fit into a DNS label."""

Details = Mapping[str, str]
"""Texts of a device's files, by name."""


class DesiredPool(msgspec.Struct, frozen=True):
    """What the slices of a pool should say."""

    export: DraExport
    node: str
    """The node's name, which is the name of the pool in slices, too."""
    devices: tuple[SliceDevice, ...]
    """In the order in which the scheduler should try them: by PCI address."""
    claimed: frozenset[str] = frozenset()
    """Names of devices that prepared claims hold: they stay, tainted, when they are unplugged."""
    left_out: tuple[str, ...] = ()
    """Attributes that the API would refuse, as ``<device>: <name>``."""


def desired_pool(
    pool: PoolSpec,
    node: str,
    devices: Mapping[DeviceId, Device],
    verdicts: Mapping[DeviceId, Verdict],
    details: Mapping[DeviceId, Details],
) -> DesiredPool:
    """Return the desired state of the slices; devices without a verdict are not advertised yet."""
    export = pool.dra
    if export is None:
        raise ValueError(f"{pool.name} is not exported by DRA")
    topology = pool_topology(
        msgspec.structs.replace(pool, preferred_allocation="topology"), devices.values()
    )
    shown: list[SliceDevice] = []
    left_out: list[str] = []
    for device in sorted(devices.values(), key=_slice_order):
        verdict = verdicts.get(device.id)
        if verdict is None:
            continue
        place: DeviceTopology | None = topology.places.get(device.id)
        said = device_properties(
            device, pool, details.get(device.id, {}), place.bridge if place else None
        )
        shown.append(
            SliceDevice(
                dra_device_name(device.id),
                said.attributes,
                said.capacity,
                device_taints(export, verdict),
            )
        )
        left_out += (f"{device.id}: {name}" for name in said.left_out)
    return DesiredPool(export, node, tuple(shown), left_out=tuple(left_out))


def split_devices(
    devices: Sequence[SliceDevice], before: Sequence[Collection[str]]
) -> tuple[tuple[SliceDevice, ...], ...]:
    """Return the devices of each slice; at least one slice, which may be empty.

    Args:
        devices: all devices, in order.
        before: names of the devices in each present slice, in the order of the slices.
    """
    place = {name: number for number, names in enumerate(before) for name in names}
    chunks: list[list[SliceDevice]] = [[] for _ in before]
    added = []
    for device in devices:
        if device.name in place:
            chunks[place[device.name]].append(device)
        else:
            added.append(device)
    for device in added:
        room = next((one for one in chunks if len(one) < MAX_DEVICES), None)
        if room is None:
            break
        room.append(device)
    fit = sum(map(len, chunks)) == len(devices) and all(
        len(one) <= MAX_DEVICES and (one or len(chunks) == 1) for one in chunks
    )
    if not chunks or not fit:  # the set of slices changes anyway
        starts = range(0, max(1, len(devices)), MAX_DEVICES)
        return tuple(tuple(devices[start : start + MAX_DEVICES]) for start in starts)
    order = {device.name: number for number, device in enumerate(devices)}
    return tuple(tuple(sorted(one, key=lambda device: order[device.name])) for one in chunks)


def name_prefix(index: int, driver: str, node: str) -> str:
    """Return the beginning of a slice's name: the scheduler tries slices in the order of names."""
    return f"{index:03d}-{driver}-{node}-"[:MAX_NAME]


def slice_index(name: str, driver: str, node: str) -> int | None:
    """Return the index of a slice from its name; None for a name of another kind."""
    digits = name[:3]
    if (
        digits.isascii()
        and digits.isdigit()
        and name.startswith(name_prefix(int(digits), driver, node))
    ):
        return int(digits)
    return None


def _slice_order(device: Device) -> tuple[str, int, str]:
    return device.function.bdf, device.index or 0, device.id

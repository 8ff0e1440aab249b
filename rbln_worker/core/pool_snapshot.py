"""The pool's desired state: the supervisor's snapshots and deltas, applied in order."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.messages import Delta, Snapshot
from rbln_worker.contract.pool import PoolSpec


class HeldPool(msgspec.Struct, frozen=True):
    """The desired state of the pool that a worker has."""

    session: str
    generation: int
    pool: PoolSpec
    devices: Mapping[DeviceId, Device]


class Gap(msgspec.Struct, frozen=True):
    """A delta does not follow the current state: a snapshot is required."""


def apply_message(held: HeldPool | None, message: Snapshot | Delta) -> HeldPool | Gap:
    """Return the state after a message; a message that is older than the state changes nothing."""
    match message:
        case Snapshot():
            if held and held.session == message.session and held.generation > message.generation:
                return held
            return HeldPool(
                message.session,
                message.generation,
                message.pool,
                {device.id: device for device in message.devices},
            )
        case Delta():
            if held is None or held.session != message.session:
                return Gap()
            if message.generation <= held.generation:
                return held
            if message.base != held.generation:
                return Gap()
            devices = {**held.devices, **{device.id: device for device in message.changed}}
            for device in message.removed:
                devices.pop(device, None)
            return HeldPool(message.session, message.generation, held.pool, devices)

"""The pool's desired state, as the worker has it."""

from collections.abc import Mapping

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.messages import Snapshot
from rbln_worker.contract.pool import PoolSpec


class HeldPool(msgspec.Struct, frozen=True):
    """The desired state of the pool that a worker has."""

    session: str
    generation: int
    pool: PoolSpec
    devices: Mapping[DeviceId, Device]


def apply_snapshot(held: HeldPool | None, message: Snapshot) -> HeldPool:
    """Return the state after a snapshot; one that is older than the state changes nothing."""
    if held and held.session == message.session and held.generation > message.generation:
        return held
    devices = {device.id: device for device in message.devices}
    return HeldPool(message.session, message.generation, message.pool, devices)

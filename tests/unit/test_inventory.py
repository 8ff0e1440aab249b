"""A worker applies snapshots in the order of their generations."""

import msgspec

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.messages import Snapshot
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.pool_snapshot import HeldPool, apply_snapshot

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


def device(bus: int, gone: str | None = None) -> Device:
    bdf = f"0000:{bus:02x}:00.0"
    function = PciFunction(Bdf(bdf), "1eff", "1120", 0x12, "rebellions", 0)
    return Device(DeviceId(bdf), function, gone=gone)


FIRST = apply_snapshot(None, Snapshot("s", 5, POOL, (device(1), device(2))))


def test_a_snapshot_replaces_everything() -> None:
    assert FIRST.devices == {device(1).id: device(1), device(2).id: device(2)}
    after = apply_snapshot(FIRST, Snapshot("s", 9, POOL, (device(3),)))
    assert (after.generation, list(after.devices)) == (9, [device(3).id])
    other = msgspec.structs.replace(POOL, exclude_topology=True)
    assert apply_snapshot(after, Snapshot("s", 10, other, ())).pool == other


def test_an_old_snapshot_changes_nothing_unless_another_supervisor_sent_it() -> None:
    assert apply_snapshot(FIRST, Snapshot("s", 4, POOL, ())) == FIRST
    assert apply_snapshot(FIRST, Snapshot("t", 1, POOL, ())) == HeldPool("t", 1, POOL, {})

"""A worker applies snapshots and deltas, and sees it when one is missing."""

import msgspec

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.messages import Delta, Snapshot
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.pool_snapshot import Gap, HeldPool, apply_message

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


def device(bus: int, gone: str | None = None) -> Device:
    bdf = f"0000:{bus:02x}:00.0"
    function = PciFunction(Bdf(bdf), "1eff", "1120", 0x12, "rebellions", 0)
    return Device(DeviceId(bdf), function, gone=gone)


def held(message: Snapshot | Delta, before: HeldPool | None = None) -> HeldPool:
    after = apply_message(before, message)
    assert isinstance(after, HeldPool)
    return after


FIRST = held(Snapshot("s", 5, POOL, (device(1), device(2))))


def test_a_snapshot_replaces_everything() -> None:
    assert FIRST.devices == {device(1).id: device(1), device(2).id: device(2)}
    after = held(Snapshot("s", 9, POOL, (device(3),)), FIRST)
    assert (after.generation, list(after.devices)) == (9, [device(3).id])
    other = msgspec.structs.replace(POOL, exclude_topology=True)
    assert held(Snapshot("s", 10, other, ()), after).pool == other


def test_an_old_snapshot_changes_nothing_unless_another_supervisor_sent_it() -> None:
    assert held(Snapshot("s", 4, POOL, ()), FIRST) == FIRST
    assert held(Snapshot("t", 1, POOL, ()), FIRST) == HeldPool("t", 1, POOL, {})


def test_a_delta_changes_what_it_names() -> None:
    after = held(Delta("s", 5, 6, (device(2, "unplugged"), device(3)), (device(1).id,)), FIRST)
    assert after.devices == {
        device(2).id: device(2, "unplugged"),
        device(3).id: device(3),
    }
    assert after.generation == 6
    assert held(Delta("s", 5, 6, (), (DeviceId("unheard of"),)), FIRST).devices == FIRST.devices


def test_a_delta_on_something_else_is_a_gap() -> None:
    assert apply_message(None, Delta("s", 0, 1)) == Gap()
    assert apply_message(FIRST, Delta("t", 5, 6)) == Gap()
    assert apply_message(FIRST, Delta("s", 6, 7)) == Gap()
    assert apply_message(FIRST, Delta("s", 4, 6)) == Gap()


def test_an_old_delta_changes_nothing() -> None:
    assert apply_message(FIRST, Delta("s", 3, 4, (device(9),))) == FIRST
    assert apply_message(FIRST, Delta("s", 4, 5, (device(9),))) == FIRST

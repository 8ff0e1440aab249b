"""What a pool should be, after each look at the node."""

import msgspec

from rbln_supervisor.core.roster import Node, Roster, advance, message, next_leave
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.messages import Delta, Snapshot
from rbln_worker.contract.pool import PoolSpec

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")
GRACE_S = 300.0


def function(bus: int, driver: str | None = "rebellions") -> PciFunction:
    return PciFunction(
        bdf=Bdf(f"0000:{bus:02x}:00.0"),
        vendor="1eff",
        product="1120",
        base_class=0x12,
        driver=driver,
        numa_node=0,
    )


A, B = function(1), function(2)
A_ID, B_ID = DeviceId(A.bdf), DeviceId(B.bdf)


def present(*functions: PciFunction) -> dict[DeviceId, Device]:
    return {DeviceId(f.bdf): Device(DeviceId(f.bdf), f) for f in functions}


def node(*functions: PciFunction, **unreadable: str) -> Node:
    return Node({f.bdf: f for f in functions}, unreadable)


def after(
    before: Roster,
    *functions: PciFunction,
    on: Node | None = None,
    others: tuple[DeviceId, ...] = (),
    now: float = 0.0,
    pool: PoolSpec = POOL,
) -> Roster:
    return advance(
        before,
        pool,
        present(*functions),
        others,
        on or node(*functions),
        now=now,
        grace_s=GRACE_S,
    )


def gone(roster: Roster) -> dict[str, str]:
    return {name: device.gone for name, device in roster.devices.items() if device.gone}


FIRST = after(Roster(POOL), A, B)


def test_the_first_look_is_the_first_generation_even_of_nothing() -> None:
    assert (FIRST.generation, list(FIRST.devices)) == (1, [A_ID, B_ID])
    assert after(Roster(POOL)).generation == 1


def test_the_same_again_is_no_new_generation() -> None:
    assert after(FIRST, A, B) == FIRST


def test_an_unplugged_device_stays_for_the_grace() -> None:
    roster = after(FIRST, A, now=10.0)
    assert gone(roster) == {B_ID: "unplugged"}
    assert (roster.generation, [device.id for device in roster.changed]) == (2, [B_ID])
    assert next_leave(roster, GRACE_S) == 10.0 + GRACE_S
    assert after(roster, A, now=309.0) == roster
    left = after(roster, A, now=310.0)
    assert (list(left.devices), left.removed, left.generation) == ([A_ID], (B_ID,), 3)
    assert next_leave(left, GRACE_S) is None


def test_a_device_that_comes_back_was_never_gone() -> None:
    roster = after(after(FIRST, A, now=10.0), A, B, now=20.0)
    assert gone(roster) == {}
    assert roster.gone_since == {}
    assert roster.devices == FIRST.devices


def test_the_grace_begins_anew_each_time() -> None:
    roster = after(after(after(FIRST, A, now=10.0), A, B, now=20.0), A, now=30.0)
    assert next_leave(roster, GRACE_S) == 30.0 + GRACE_S


def test_the_reason_is_told_as_it_changes() -> None:
    unbound = after(FIRST, A, on=node(A, function(2, None)), now=10.0)
    assert gone(unbound) == {B_ID: "no driver is bound to it"}
    unplugged = after(unbound, A, now=20.0)
    assert gone(unplugged) == {B_ID: "unplugged"}
    assert next_leave(unplugged, GRACE_S) == 10.0 + GRACE_S
    other = after(unplugged, A, on=node(A, function(2, "uio")), now=30.0)
    assert gone(other) == {B_ID: "driver uio is bound to it, rebellions was"}
    broken = advance(
        other, POOL, present(A), (), Node({A.bdf: A}, {B.bdf: "x"}), now=40.0, grace_s=GRACE_S
    )
    assert gone(broken) == {B_ID: "can't be read: x"}
    with_vfs = msgspec.structs.replace(B, has_vfs=True)
    hidden = after(broken, A, on=node(A, with_vfs), now=50.0)
    assert gone(hidden)[B_ID].startswith("its virtual functions are enabled")
    renamed = msgspec.structs.replace(B, product="1121")
    changed = after(hidden, A, on=node(A, renamed), now=60.0)
    assert gone(changed) == {B_ID: "it changed: no selector of the pool matches it any more"}


def test_a_device_that_another_pool_got_leaves_at_once() -> None:
    roster = after(FIRST, A, others=(B_ID,), on=node(A, B))
    assert (list(roster.devices), roster.removed) == ([A_ID], (B_ID,))


def test_a_device_that_the_configuration_no_longer_wants_leaves_at_once() -> None:
    roster = after(FIRST, A, on=node(A, B))
    assert (list(roster.devices), roster.removed) == ([A_ID], (B_ID,))


def test_what_a_worker_is_told() -> None:
    second = after(FIRST, A, now=10.0)
    assert message(second, "s", 1) == Delta("s", 1, 2, second.changed, ())
    whole = Snapshot("s", 2, POOL, tuple(second.devices.values()))
    assert message(second, "s", None) == whole
    assert message(second, "s", 0) == whole
    assert message(second, "s", 7) == whole


def test_another_pool_specification_is_told_whole() -> None:
    changed = msgspec.structs.replace(POOL, exclude_topology=True)
    roster = after(FIRST, A, B, pool=changed)
    assert (roster.generation, roster.renewed, roster.changed) == (2, True, ())
    assert message(roster, "s", 1) == Snapshot("s", 2, changed, tuple(FIRST.devices.values()))

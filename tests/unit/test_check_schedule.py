"""The schedule of health checks: requests, heartbeats, and the devices of each check."""

from collections.abc import Collection

from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health.evidence import MAX_QUICKLY_CHECKED, Depth
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.core.step.check_schedule import (
    FULL_CHECK_DELAY_S,
    HEARTBEATS_PER_FULL_CHECK,
    CheckSchedule,
)
from rbln_worker.core.step.effects import StartCheck
from tests.unit.inventory import npu

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")
A, B, C = names = tuple(DeviceId(f"0000:2{number}:00.0") for number in range(3))
LATER = FULL_CHECK_DELAY_S + 0.001


def held(devices: Collection[DeviceId] = names) -> HeldPool:
    return HeldPool("s", 1, POOL, {one: Device(one, npu(Bdf(one))) for one in devices})


def shown(checks: list[StartCheck]) -> list[tuple[Depth, set[DeviceId]]]:
    return [(check.depth, set(check.devices)) for check in checks]


def test_requests_until_the_check_begins_share_it() -> None:
    schedule = CheckSchedule()
    schedule.request_check({A}, 1.0)
    schedule.request_check({A, B}, 1.0)
    assert schedule.next_check == 1.0
    assert shown(schedule.take_due(held(), 1.0)) == [(Depth.FULL, {A, B})]
    schedule.request_check({C}, 1.0)
    assert shown(schedule.take_due(held(), 1.0)) == [(Depth.FULL, {C})]


def test_named_devices_are_checked_before_all() -> None:
    schedule = CheckSchedule()
    schedule.request_full_check(0.0)
    schedule.request_check({B}, 0.0)
    schedule.request_full_check(0.05)
    assert shown(schedule.take_due(held(), 0.0)) == [(Depth.FULL, {B})]
    assert shown(schedule.take_due(held(), LATER)) == [(Depth.IF_CHANGED, set(names))]
    assert shown(schedule.take_due(held(), 2 * LATER)) == []


def test_a_heartbeat_that_checks_all_is_the_requested_check() -> None:
    schedule = CheckSchedule(HEARTBEATS_PER_FULL_CHECK - 1)
    schedule.request_full_check(0.0)
    assert shown(schedule.on_heartbeat(held())) == [(Depth.IF_CHANGED, set(names))]
    assert schedule.next_check is None


def test_a_pool_without_devices_is_checked_for_its_files() -> None:
    schedule = CheckSchedule()
    schedule.request_check((), 0.0)
    assert shown(schedule.take_due(held(()), 0.0)) == [(Depth.FULL, set())]


def test_without_a_desired_state_there_is_no_check() -> None:
    schedule = CheckSchedule()
    schedule.request_check({A}, 0.0)
    schedule.request_full_check(0.0)
    assert schedule.take_due(None, LATER) == []


def test_heartbeats_check_all_at_intervals_and_files_without_events_in_between() -> None:
    schedule = CheckSchedule()
    rounds = range(2 * HEARTBEATS_PER_FULL_CHECK)
    checks = [check for _ in rounds for check in shown(schedule.on_heartbeat(held()))]
    depths = [depth for depth, _ in checks]
    assert all(chosen == set(names) for _, chosen in checks)
    expected = [*[Depth.VOLATILE] * (HEARTBEATS_PER_FULL_CHECK - 1), Depth.IF_CHANGED] * 2
    assert depths == expected


def test_a_large_pool_has_no_quick_checks() -> None:
    many = [DeviceId(f"0000:{number:02x}:00.0") for number in range(MAX_QUICKLY_CHECKED + 1)]
    schedule = CheckSchedule()
    rounds = range(2 * HEARTBEATS_PER_FULL_CHECK)
    checks = [check for _ in rounds for check in schedule.on_heartbeat(held(many))]
    assert [check.depth for check in checks] == [Depth.IF_CHANGED] * 2


def test_a_heartbeat_leaves_requested_devices_to_their_own_check() -> None:
    schedule = CheckSchedule()
    schedule.request_check({B}, 0.0)
    assert shown(schedule.on_heartbeat(held())) == [(Depth.VOLATILE, {A, C})]
    assert shown(schedule.take_due(held(), 0.0)) == [(Depth.FULL, {B})]

"""Which devices a worker looks at, and when: what is asked for, and its own pulse."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest

from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.health.evidence import MAX_QUICKLY_CHECKED
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.health.inspect import Depth
from rbln_worker.health.schedule import FULL_CHECK_DELAY_S, HEARTBEATS_PER_FULL_CHECK, CheckSchedule
from tests.unit.inventory import npu

Begun = list[tuple[Depth, set[DeviceId]]]
POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")
A, B, C = names = tuple(DeviceId(f"0000:2{number}:00.0") for number in range(3))


def told(
    story: Callable[[CheckSchedule], Coroutine[None, None, None]],
    *,
    devices: Sequence[DeviceId] = names,
    troubled: frozenset[DeviceId] = frozenset(),
) -> Begun:
    """The looks that began while a story was played."""
    begun: Begun = []
    held = HeldPool("s", 1, POOL, {one: Device(one, npu(Bdf(one))) for one in devices})

    async def follow(chosen: Sequence[Device], _: HeldPool, depth: Depth) -> None:
        begun.append((depth, {device.id for device in chosen}))

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            await story(
                CheckSchedule(lambda: held, lambda: set(troubled), follow, group.create_task)
            )

    asyncio.run(play())
    return begun


def test_what_is_wanted_in_one_turn_is_one_look() -> None:
    async def story(looks: CheckSchedule) -> None:
        looks.request_check({A})
        looks.request_check({A, B})
        await asyncio.sleep(0)
        looks.request_check({C})
        await asyncio.sleep(0)

    assert told(story) == [(Depth.FULL, {A, B}), (Depth.FULL, {C})]


def test_who_is_named_is_looked_at_before_all_are_checked() -> None:
    async def story(looks: CheckSchedule) -> None:
        looks.request_full_check()
        looks.request_check({B})
        looks.request_full_check()
        await asyncio.sleep(2 * FULL_CHECK_DELAY_S)

    assert told(story) == [(Depth.FULL, {B}), (Depth.IF_CHANGED, {A, B, C})]


def test_a_pulse_that_checks_all_is_the_check_that_was_wanted() -> None:
    async def story(looks: CheckSchedule) -> None:
        looks.request_full_check()
        await pulses(looks)
        await asyncio.sleep(2 * FULL_CHECK_DELAY_S)

    assert [depth for depth, _ in told(story)].count(Depth.IF_CHANGED) == 2


def test_a_pool_without_devices_has_something_to_say_too() -> None:
    async def story(looks: CheckSchedule) -> None:
        looks.request_check(())
        await asyncio.sleep(0)

    assert told(story, devices=()) == [(Depth.FULL, set())]


async def pulses(looks: CheckSchedule) -> None:
    for _ in range(2 * HEARTBEATS_PER_FULL_CHECK):
        looks.on_heartbeat()
        await asyncio.sleep(0)


def test_every_few_pulses_all_is_checked_and_in_between_what_changes_untold() -> None:
    begun = told(pulses)
    assert all(chosen == {A, B, C} for _, chosen in begun)
    depths = [depth for depth, _ in begun]
    assert depths.count(Depth.IF_CHANGED) == 2
    assert depths.count(Depth.VOLATILE) == 2 * HEARTBEATS_PER_FULL_CHECK - 2
    first = depths.index(Depth.IF_CHANGED)
    assert depths[first + HEARTBEATS_PER_FULL_CHECK] is Depth.IF_CHANGED


def test_a_large_pool_is_checked_and_not_glanced_at() -> None:
    many = [DeviceId(f"0000:{number:02x}:00.0") for number in range(MAX_QUICKLY_CHECKED + 1)]
    assert [depth for depth, _ in told(pulses, devices=many)] == [Depth.IF_CHANGED] * 2


def test_who_lacks_something_is_looked_at_with_each_pulse_and_the_others_are_not() -> None:
    begun = told(pulses, troubled=frozenset({B}))
    looks = [chosen for depth, chosen in begun if depth is Depth.FULL]
    assert looks == [{B}] * (2 * HEARTBEATS_PER_FULL_CHECK)
    assert all(chosen == {A, C} for depth, chosen in begun if depth is not Depth.FULL)


@pytest.mark.parametrize("wanted", [(), (A,)])
def test_who_leaves_begins_no_look(wanted: tuple[DeviceId, ...]) -> None:
    """What was wanted before, and what is heard while the streams are ended."""

    async def story(looks: CheckSchedule) -> None:
        looks.request_check(wanted)
        looks.request_full_check()
        looks.stop_checks()
        looks.request_check(wanted)
        looks.request_full_check()
        await asyncio.sleep(2 * FULL_CHECK_DELAY_S)

    assert told(story) == []

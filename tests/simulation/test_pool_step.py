"""A pool and its workers for hours of virtual time: die, hang, refuse, lose and double messages."""

import msgspec
import pytest

from rbln_supervisor.core.workers.lifecycle import State
from rbln_worker.contract.pool import DraExport
from rbln_worker.core.pool_snapshot import HeldPool
from tests.simulation.pool_world import PoolWorld
from tests.simulation.sim_worker import SPEC

STEPS = 60
SETTLE_S = 120.0
"""More than the longest back-off, a worker's hello and its first state."""


def disturb(world: PoolWorld) -> None:
    """Change what is wanted, break workers and let time pass; then stop all faults."""
    for step in range(STEPS):
        match world.random.randrange(4):
            case 0:
                world.want(*(f"d{n}" for n in range(world.random.randrange(1, 5))), f"s{step}")
            case 1:
                world.break_something()
            case 2:
                world.leave()
            case _:
                pass
        world.send_due()
        world.run(world.random.choice([0.0, 0.1, 1.0, 8.0]))
    world.want("d0", "d1")
    world.faults = False


def test_a_pool_ends_up_with_one_worker_that_has_its_devices(seed: int) -> None:
    world = PoolWorld(seed)
    world.want("d0")
    disturb(world)
    world.run(SETTLE_S)
    assert world.is_served(), "\n".join(world.log[-40:])


@pytest.mark.parametrize("options", ["options", "other options"])
def test_an_orphan_is_adopted_or_replaced_whatever_goes_wrong(seed: int, options: str) -> None:
    world = PoolWorld(seed)
    world.orphan(options=options, held=HeldPool("earlier", 7, SPEC, {}))
    world.run(world.random.uniform(0, 3))
    world.want("d0", "d1")
    disturb(world)
    world.run(SETTLE_S)
    assert world.is_served(), "\n".join(world.log[-40:])


def test_a_pool_that_is_drained_ends_without_a_process(seed: int) -> None:
    world = PoolWorld(seed)
    world.want("d0")
    disturb(world)
    world.faults = True
    world.leave()
    world.run(SETTLE_S)
    assert world.pool.has_ended
    assert not world.living
    assert world.pool.child.state is State.NONE


def test_a_worker_that_always_dies_is_started_twice_a_minute_in_the_end() -> None:
    world = PoolWorld(1)
    world.faults = False
    world.want("d0")
    for _ in range(6000):
        world.run(0.1)
        if world.current is not None:
            world.kill(world.current)
    last = [at for at in world.spawns if at > world.now - 300]
    assert 5 <= len(last) <= 15


DRIVER = "a.x.io"


def test_exports_never_overlap_whatever_goes_wrong(seed: int) -> None:
    """PoolWorld.check asserts it after each event."""
    world = PoolWorld(seed)
    world.want("d0")
    for step in range(STEPS):
        match world.random.randrange(4):
            case 0:
                world.export(world.random.choice(["", DRIVER, "b.x.io"]))
                world.want("d0", f"s{step}")
            case 1:
                world.break_something()
            case 2:
                world.leave()
            case _:
                world.want("d0")
        world.send_due()
        world.run(world.random.choice([0.0, 0.1, 1.0, 8.0]))
    world.export("")
    world.want("d0", "d1")
    world.faults = False
    world.run(SETTLE_S)
    assert world.is_served(), "\n".join(world.log[-40:])


@pytest.mark.parametrize("driver", ["", DRIVER])
def test_an_orphan_of_another_export_ends_before_its_successor_begins(
    seed: int, driver: str
) -> None:
    other = DRIVER if driver == "" else ""
    pool = msgspec.structs.replace(SPEC, dra=DraExport(other) if other else None)
    world = PoolWorld(seed)
    world.export(driver)
    world.orphan(driver=other, held=HeldPool("earlier", 7, pool, {}))
    world.want("d0", "d1")
    disturb(world)
    world.run(SETTLE_S)
    assert world.is_served(), "\n".join(world.log[-40:])


def test_slices_are_gone_when_a_pool_is_removed_or_exported_in_another_way(seed: int) -> None:
    for change in ("removed", "device-plugin", "b.x.io"):
        world = PoolWorld(seed)
        world.faults = False
        world.export(DRIVER)
        world.want("d0")
        world.run(SETTLE_S)
        assert world.slices == {DRIVER}
        if world.random.random() < 0.5:
            world.kill(world.current or pytest.fail("no worker"))
        if change == "removed":
            world.pool = msgspec.structs.replace(world.pool, configured=False)
            world.apply(world.pool.end_of_export)
        else:
            world.export("" if change == "device-plugin" else change)
            world.want("d0")
        world.run(SETTLE_S)
        assert world.slices == ({change} if change == "b.x.io" else set())
        assert world.pool.has_ended if change == "removed" else world.is_served()

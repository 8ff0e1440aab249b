"""The worker's step against a model kubelet: any faults, and the right list in the end.

A seed repeats a run: ``pytest tests/simulation --seed N``.
"""

from rbln_worker.core.registration import RegistrationStep
from tests.simulation.worker_world import World, signature

FAULTS_S = 30.0
RECOVERY_S = 180.0
"""Longer than the longest retry interval (60 s), a probation and a full check together."""


def run_world(seed: int) -> World:
    """Run a world with faults, and then without, until it has recovered or for RECOVERY_S."""
    world = World(seed)
    world.timeline.run_until(FAULTS_S)
    world.recover()
    while not has_recovered(world) and world.timeline.now < FAULTS_S + RECOVERY_S:
        world.timeline.run_until(world.timeline.now + 2.0)
    return world


def has_recovered(world: World) -> bool:
    """Return True if the kubelet has the right list by one stream, and the worker knows it."""
    worker, kubelet = world.worker, world.kubelet
    streams = [one for one in worker.endpoints.values() if one.streams]
    return (
        worker.state.endpoints.registration.step is RegistrationStep.LISTED
        and worker.listed == kubelet.devices == world.right_list
        and kubelet.clients == streams
        and len(streams) == 1
    )


def check_recovered(world: World) -> None:
    """Check that the kubelet has the right list by one living stream."""
    worker, kubelet = world.worker, world.kubelet
    assert worker.listed == world.right_list
    assert kubelet.devices == world.right_list
    assert worker.state.endpoints.registration.step is RegistrationStep.LISTED
    streams = [one for one in worker.endpoints.values() if one.streams]
    assert kubelet.clients == streams
    assert len(streams) == 1, "more than one endpoint has a stream"


def test_the_kubelet_has_the_right_list_once_faults_cease(seed: int) -> None:
    check_recovered(run_world(seed))


def test_a_seed_repeats_its_run() -> None:
    assert signature(run_world(1)) == signature(run_world(1)) != signature(run_world(2))


def test_a_pool_is_registered_exactly_while_there_is_a_kubelet() -> None:
    world = World(3)
    world.faults.cease()
    steps = []
    for act in (world.kubelet.start, world.kubelet.kill, world.kubelet.start):
        act()
        world.timeline.run_until(world.timeline.now + 100.0)
        steps.append(world.worker.state.endpoints.registration.step is RegistrationStep.LISTED)
    assert steps == [True, False, True]
    check_recovered(world)

"""Supervisor, workers and a model kubelet: any faults, and the kubelet's view of the node after.

A seed repeats a run: ``pytest tests/simulation --seed N``.
"""

from rbln_supervisor.core.workers.lifecycle import State
from rbln_worker.core.registration import RegistrationStep
from tests.simulation.joined_world import JoinedWorld, signature

FAULTS_S = 40.0
RECOVERY_S = 240.0
"""Longer than the longest retry interval of a registration (60 s), a back-off (30 s), the grace
period, a probation and a full check together."""


def run_world(seed: int) -> JoinedWorld:
    """Run a world with faults, and then without, until it has recovered or for RECOVERY_S."""
    world = JoinedWorld(seed)
    world.timeline.run_until(FAULTS_S)
    world.recover()
    while not has_recovered(world) and world.timeline.now < FAULTS_S + RECOVERY_S:
        world.timeline.run_until(world.timeline.now + 2.0)
    return world


def has_recovered(world: JoinedWorld) -> bool:
    """Return True if ``check_recovered`` would find nothing."""
    try:
        check_recovered(world)
    except AssertionError:
        return False
    return True


def check_recovered(world: JoinedWorld) -> None:
    """Check that the kubelet has the right list, by one stream of the only worker."""
    supervisor, kubelet = world.supervisor, world.kubelet
    assert supervisor.pool.child.state is State.UP
    worker = supervisor.current
    assert worker is not None
    assert world.living == [worker], "a worker that nobody knows"
    assert world.lock_holder() is worker, "the next supervisor would not find it"
    assert worker.listed == world.right_list
    assert kubelet.devices == world.right_list
    assert worker.state.endpoints.registration.step is RegistrationStep.LISTED
    streams = [one for one in worker.endpoints.values() if one.streams]
    assert kubelet.clients == streams
    assert len(streams) == 1, "more than one endpoint has a stream"
    assert kubelet.callee is streams[0], "no endpoint gets calls"


def test_the_kubelet_sees_the_node_once_faults_cease(seed: int) -> None:
    check_recovered(run_world(seed))


def test_a_seed_repeats_its_run() -> None:
    assert signature(run_world(1)) == signature(run_world(1)) != signature(run_world(2))


def test_a_pool_is_registered_exactly_while_there_is_a_kubelet() -> None:
    world = JoinedWorld(3)
    world.faults.cease()
    steps = []
    for act in (world.kubelet.start, world.kubelet.kill, world.kubelet.start):
        act()
        world.timeline.run_until(world.timeline.now + 100.0)
        assert world.supervisor.current is not None
        registration = world.supervisor.current.state.endpoints.registration
        steps.append(registration.step is RegistrationStep.LISTED)
    assert steps == [True, False, True]
    check_recovered(world)

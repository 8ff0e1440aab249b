"""A change without any fault reaches the kubelet at once, also in the middle of something else."""

import pytest

from rbln_supervisor.core.workers.predecessor import Stage
from rbln_worker.core.registration import RegistrationStep
from tests.simulation.joined_world import FORK_S, JoinedWorld
from tests.simulation.model_kubelet import Release
from tests.simulation.simulated_worker import IDS, SimulatedWorker
from tests.simulation.test_joined_simulation import check_recovered, has_recovered

PROMPT_S = 0.5
"""Less than the intervals of all periodic work, which would find the change, too."""
SETTLE_S = 30.0
LEAVING_S = 8.0
"""Time for the end of a replaced worker, and for a new registration: an older kubelet ends all
streams with one of them. Less than the grace period of a device that is gone."""


def quiet_world(seed: int, release: Release | None = None) -> JoinedWorld:
    """Return a world without faults, whose pool is listed.

    ``release``: a kubelet with which the pool registers at kubelet.sock; None: any kubelet and way.
    """
    world = JoinedWorld(seed)
    world.faults.cease()
    if release is not None:
        world.way, world.kubelet.release = "kubelet-sock", release
    world.kubelet.start()
    while not has_recovered(world):
        assert world.timeline.now < SETTLE_S
        pass_time(world, 1.0)
    pass_time(world, world.faults.random.uniform(0.0, 2.0))
    return world


def pass_time(world: JoinedWorld, seconds: float) -> None:
    world.timeline.run_until(world.timeline.now + seconds)


def test_a_device_that_fails_while_it_is_checked_is_unhealthy_at_once(seed: int) -> None:
    world = quiet_world(seed)
    for device in IDS[:3]:
        world.touch_node(device)
        pass_time(world, world.faults.random.uniform(0.0, 0.05))
        world.break_device(device)
        pass_time(world, PROMPT_S)
        assert world.kubelet.devices == world.due_list


def test_what_a_lost_snapshot_had_is_in_the_next_one(seed: int) -> None:
    world = quiet_world(seed)
    for lost, device in ((IDS[0], IDS[3]), (IDS[1], IDS[0])):
        (channel,) = (one for one in world.supervisor.channels.values() if one.is_open)
        channel.loses_snapshot = True
        world.plug_device(lost)
        pass_time(world, PROMPT_S)
        assert not channel.loses_snapshot
        world.plug_device(device)
        pass_time(world, PROMPT_S)
        assert world.kubelet.devices == world.due_list


def test_a_device_that_comes_while_the_node_is_read_is_listed_at_once(seed: int) -> None:
    world = quiet_world(seed)
    for first, second in ((IDS[3], IDS[0]), (IDS[0], IDS[1])):
        world.plug_device(first)
        pass_time(world, world.faults.random.uniform(0.0, 0.05))
        world.plug_device(second)
        pass_time(world, PROMPT_S)
        assert world.kubelet.devices == world.due_list


def test_a_fresh_socket_is_listed_without_a_gap(seed: int) -> None:
    world = quiet_world(seed, "1.37")
    gaps, worker = world.kubelet.gaps, world.supervisor.current
    assert worker is not None
    (earlier,) = worker.endpoints
    world.remove_sockets()
    pass_time(world, LEAVING_S)
    assert world.kubelet.gaps == gaps
    (number,) = worker.endpoints
    assert number > earlier
    assert world.kubelet.devices == world.due_list


@pytest.mark.parametrize("release", ["1.34", "1.37"])
def test_a_registration_that_goes_on_late_leaves_the_pool_with_calls(
    seed: int, release: Release
) -> None:
    world = quiet_world(seed, release)
    worker = world.supervisor.current
    assert worker is not None
    (earlier,) = worker.endpoints.values()
    world.kubelet.drop_stream()
    while world.kubelet.callee in {None, earlier}:
        pass_time(world, 0.01)
    pass_time(world, world.faults.random.uniform(0.0, 0.9))
    world.kubelet.connect_late(earlier)
    pass_time(world, LEAVING_S)
    check_recovered(world)


def wait_for_successor(world: JoinedWorld) -> SimulatedWorker:
    """Replace the worker; return its successor, which is listed beside it."""
    world.replace_supervisor("other options")
    supervisor = world.supervisor
    while not (
        supervisor.replaced is not None
        and supervisor.current is not None
        and supervisor.current.state.endpoints.registration.step is RegistrationStep.LISTED
    ):
        assert world.timeline.now < 2 * SETTLE_S
        pass_time(world, 0.02)
    return supervisor.current


def test_a_listed_successor_keeps_the_pool_if_the_supervisor_dies(seed: int) -> None:
    world = quiet_world(seed)
    successor = wait_for_successor(world)
    assert world.supervisor.replaced is not None
    replaced = world.supervisor.replaced
    replaced.hang()
    while (one := world.supervisor.pool.predecessor) and one.stage is Stage.SERVING:
        pass_time(world, 0.02)
    world.replace_supervisor("other options")
    replaced.resume()
    pass_time(world, LEAVING_S)
    assert world.living == [successor], "the replaced worker has seen that it lost the pool"


def test_a_kubelet_that_restarts_meanwhile_has_the_successor_in_the_end(seed: int) -> None:
    world = quiet_world(seed)
    wait_for_successor(world)
    world.kubelet.kill()
    pass_time(world, world.faults.random.uniform(0.0, 0.2))
    world.kubelet.start()
    pass_time(world, LEAVING_S)
    check_recovered(world)


def test_a_successor_gets_the_pool_if_its_predecessor_ends_before_it_has_a_lock(seed: int) -> None:
    world = quiet_world(seed)
    world.replace_supervisor("other options")
    while (replaced := world.supervisor.replaced) is None:
        pass_time(world, FORK_S / 10)
    replaced.kill(drained=False)
    pass_time(world, LEAVING_S)
    assert world.lock_holder() is world.supervisor.current is not None


def test_the_last_list_is_that_of_the_new_worker(seed: int) -> None:
    world = quiet_world(seed)
    successor = wait_for_successor(world)
    world.plug_device(IDS[0])  # the old worker does not get to know it
    pass_time(world, world.faults.random.uniform(0.0, 0.5))
    world.break_device(IDS[1])
    pass_time(world, LEAVING_S)
    assert world.living == [successor]
    assert world.kubelet.devices == world.due_list

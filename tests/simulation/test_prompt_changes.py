"""A change without any fault reaches the kubelet at once, also in the middle of something else."""

from rbln_worker.core.registration import RegistrationStep
from tests.simulation.joined_world import JoinedWorld
from tests.simulation.simulated_worker import IDS
from tests.simulation.test_joined_simulation import has_recovered

PROMPT_S = 0.5
"""Less than the intervals of all periodic work, which would find the change, too."""
SETTLE_S = 30.0
LEAVING_S = 8.0
"""Time for the end of a replaced worker, and for a new registration: an older kubelet ends all
streams with one of them. Less than the grace period of a device that is gone."""


def quiet_world(seed: int) -> JoinedWorld:
    """Return a world without faults, whose pool is listed."""
    world = JoinedWorld(seed)
    world.faults.cease()
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


def test_a_lost_delta_is_noticed_with_the_next_one(seed: int) -> None:
    world = quiet_world(seed)
    for lost, device in ((IDS[0], IDS[3]), (IDS[1], IDS[0])):
        (channel,) = (one for one in world.supervisor.channels.values() if one.is_open)
        channel.loses_delta = True
        world.plug_device(lost)
        pass_time(world, PROMPT_S)
        assert not channel.loses_delta
        world.plug_device(device)
        pass_time(world, PROMPT_S)
        assert world.kubelet.devices == world.due_list


def test_the_last_list_is_that_of_the_new_worker(seed: int) -> None:
    world = quiet_world(seed)
    world.replace_supervisor("other options")
    supervisor = world.supervisor
    while not (
        supervisor.replaced is not None
        and supervisor.current is not None
        and supervisor.current.state.endpoints.registration.step is RegistrationStep.LISTED
    ):
        assert world.timeline.now < 2 * SETTLE_S
        pass_time(world, 0.02)
    world.plug_device(IDS[0])  # the old worker does not get to know it
    pass_time(world, world.faults.random.uniform(0.0, 0.5))
    world.break_device(IDS[1])
    pass_time(world, LEAVING_S)
    assert world.living == [supervisor.current]
    assert world.kubelet.devices == world.due_list

"""NPUs whose numbers move while a pod holds one."""

from random import Random

import grpc

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.faults.devices import NPUS, OF
from tests.chaos.touch import Touch
from tests.chaos.world import World

NAME = "holder"


def swapped(world: World, rng: Random) -> Plan:
    """A driver is loaded again: two NPUs come back with each other's number.

    Until the pod has ended, neither is given out, and no answer has the path that the pod has.
    With CDI the container runtime adds the right nodes by the device's name: nothing is refused.
    """
    pool = rng.choice((pools.ATOM, pools.CARD))
    held, other = rng.sample(OF[pool], 2)

    def number(names: dict[str, str]) -> None:
        for bdf, name in names.items():
            world.node.rename_rbln(bdf, name)
            world.tell_of("bind", bdf)

    def is_known() -> bool:
        status = world.status()
        return status is not None and bool(status.pools[pool].devices[held].pods)

    def inject() -> None:
        try:
            pod = world.kubelet.running.admit(NAME, pool, [held])
        except grpc.RpcError:  # it is refused while another fault lasts
            return
        world.kubelet.running.show(pod)
        world.wait(is_known, "the pod is known")
        world.load.hold(pool, held, pod.nodes)
        number({held: NPUS[other], other: NPUS[held]})

    def undo() -> None:
        if NAME in world.kubelet.running.living:
            world.kubelet.running.delete(NAME)
        world.load.release(pool)
        number({held: NPUS[held], other: NPUS[other]})

    def seen() -> bool:
        return world.cdi or not (world.is_healthy(pool, held) or world.is_healthy(pool, other))

    return Plan(
        what=f"{held} and {other} swap their numbers while a pod holds the first",
        uses=frozenset({"holder", "supervisor", "kubelet", pool, held, other}),
        # The pool is registered again, so that the kubelet asks before it starts the container.
        touches={pool: Touch.STREAMS},
        inject=inject,
        undo=undo,
        seen=seen,
    )

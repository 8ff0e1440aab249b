"""rbln-agent dies and hangs, and the API server is gone while devices fail and recover."""

import signal
from random import Random
from typing import Final

from rbln_worker.contract.problem import Code
from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.faults import api
from tests.chaos.faults.devices import NPUS
from tests.chaos.touch import Touch
from tests.chaos.world import World

USES: Final = frozenset({"agent"})
"""Where the run directory is read-only, an agent that dies has not saved what it sent."""


def dies(world: World, rng: Random) -> Plan:
    """It is killed or leaves, and is started again."""
    number = rng.choice((signal.SIGKILL, signal.SIGTERM))

    def inject() -> None:
        code = world.agent.end(number)
        # It may have begun a moment ago, and not have a handler yet.
        assert code == -number or (number is signal.SIGTERM and not code), f"exit code {code}"

    what = f"{number.name} to the agent"
    return Plan(what=what, uses=USES, inject=inject, undo=world.agent.start, rest_s=api.REST_S)


def hangs(world: World, _: Random) -> Plan:
    """SIGSTOP, and SIGCONT."""
    pid = world.agent.pid
    return Plan(
        what="the agent stops for a while",
        uses=USES,
        inject=lambda: world.kill(pid, signal.SIGSTOP),
        undo=lambda: world.kill(pid, signal.SIGCONT),
        rest_s=api.REST_S,
    )


def waits(world: World, rng: Random) -> Plan:
    """The API server is gone for long: NPUs fail and recover meanwhile, and agents die."""
    chosen = rng.sample(pools.ATOMS, rng.randint(1, 2))
    turns = [rng.random() for _ in range(rng.randint(2, 6))]

    def set_status(text: str) -> None:
        for bdf in chosen:
            world.node.set_class_attribute(NPUS[bdf], "status", text)

    def inject() -> None:
        world.dra.api.stop()
        for turn in turns:
            set_status("3\n")
            world.wait(
                lambda: not any(world.is_healthy(pools.ATOM, bdf) for bdf in chosen), "a failure"
            )
            if turn < 0.3:
                world.agent.end(signal.SIGKILL)
                world.agent.start()
            set_status("0\n")
            world.wait(
                lambda: all(world.is_healthy(pools.ATOM, bdf) for bdf in chosen), "a recovery", 20.0
            )
        world.wait(lambda: _is_said(world), "the status says that Events wait", 30.0)
        world.agent.wait_read(world.wait)
        assert not (wrong := list(world.agent.unbounded())), wrong

    return Plan(
        what=f"the API server is gone, {', '.join(chosen)} fail {len(turns)} times meanwhile",
        uses=USES | api.USES | {"supervisor", "look", pools.ATOM, f"worker {pools.ATOM}", *chosen},
        touches={**api.TOUCHES, pools.ATOM: Touch.LISTS},
        inject=inject,
        undo=world.dra.api.start,
        rest_s=api.REST_S,
    )


def _is_said(world: World) -> bool:
    """Return True if the supervisor's status has the agent's problem."""
    status = world.status()
    return status is not None and any(
        problem.code is Code.CLUSTER_EVENTS_NOT_SENT for problem in status.supervisor.problems
    )

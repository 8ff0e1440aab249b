"""The supervisor dies, leaves, hangs; the harness is its supervisord."""

import signal
from random import Random
from time import monotonic

from rbln_supervisor.core.control.protocol import Upgrade
from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.touch import Touch, Touches
from tests.chaos.world import START_S, World

USES = frozenset({"supervisor"})

AFTER_ITS_DEATH: Touches = {}
"""Workers serve on, and the next supervisor adopts them."""


def dies(world: World, _: Random) -> Plan:
    """SIGKILL; another one is started, and adopts the workers."""
    pid = world.stack.pid

    def inject() -> None:
        world.pulse.expect_silence()
        world.stack.kill()

    return Plan(
        what="SIGKILL to the supervisor",
        uses=USES,
        touches=AFTER_ITS_DEATH,
        inject=inject,
        undo=lambda: start(world, pid),
    )


def dies_twice(world: World, rng: Random) -> Plan:
    """The next one dies as it starts, at any point of it."""
    pid = world.stack.pid
    answers = rng.randrange(1, 12)

    def inject() -> None:
        world.pulse.expect_silence()
        world.stack.kill()
        world.stack.start()
        # So many calls later: some point between its first import and its last adoption.
        world.load.wait_answers((rng.choice(sorted(pools.REST)),), answers, 10.0)
        world.stack.kill()

    return Plan(
        what="SIGKILL to the supervisor, and to the next one as it starts",
        uses=USES,
        touches=AFTER_ITS_DEATH,
        inject=inject,
        undo=lambda: start(world, pid),
    )


def leaves(world: World, _: Random) -> Plan:
    """SIGTERM: it ends with all its workers, as where the pod is replaced."""
    pid = world.stack.pid

    def inject() -> None:
        world.pulse.expect_silence()
        stopped = world.stack.stop()
        assert stopped.code == 0, f"exit code {stopped.code} after SIGTERM"

    return Plan(
        what="SIGTERM to the supervisor",
        uses=USES | {f"worker {pool}" for pool in pools.NAMES},
        touches=dict.fromkeys(pools.NAMES, Touch.WORKER),
        inject=inject,
        undo=lambda: start(world, pid),
    )


def hangs(world: World, _: Random) -> Plan:
    """SIGSTOP, and SIGCONT."""
    pid = world.stack.pid

    def inject() -> None:
        world.pulse.expect_silence()
        world.kill(pid, signal.SIGSTOP)

    def undo() -> None:
        world.kill(pid, signal.SIGCONT)
        world.pulse.expect_answers()

    return Plan(what="the supervisor stops for a while", uses=USES, inject=inject, undo=undo)


def upgraded(world: World, _: Random) -> Plan:
    """rbln-ctl upgrade: it becomes the installed program, in the same process."""
    began = monotonic()

    def is_next() -> bool:
        status = world.status()
        return status is not None and status.supervisor.uptime_s < monotonic() - began

    def inject() -> None:
        nonlocal began
        world.pulse.expect_silence()
        began = monotonic()
        world.ask(Upgrade(), 30.0)

    def undo() -> None:
        world.wait(is_next, "the next supervisor answers", 30.0)
        world.pulse.expect_answers()

    return Plan(what="the supervisor is upgraded in place", uses=USES, inject=inject, undo=undo)


def start(world: World, former: int) -> None:
    """Start the next one."""
    world.stack.start()
    world.wait(lambda: _is_another(world, former), "another supervisor answers", START_S)
    world.pulse.expect_answers()


def _is_another(world: World, former: int) -> bool:
    status = world.status()
    return status is not None and status.supervisor.pid != former

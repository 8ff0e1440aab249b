"""Workers that die and hang."""

import signal
from random import Random

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.touch import Touch
from tests.chaos.world import World

BACK_OFF_S = 45.0
"""A worker that died again and again waits 30 s, and a fifth more."""
HANG_S = BACK_OFF_S + 15.0
"""A worker is killed 5 s after its last beat, 10 s after the fork of a supervisor that awaits
its hello."""


def dies(world: World, rng: Random) -> Plan:
    """A worker is killed, faults, or leaves for no reason."""
    number = rng.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM))
    return _ended(world, rng, number, seen_s=BACK_OFF_S)


def hangs(world: World, rng: Random) -> Plan:
    """A worker is stopped; nobody lets it go on."""
    return _ended(world, rng, signal.SIGSTOP, seen_s=HANG_S)


def all_die(world: World, _: Random) -> Plan:
    """All of them at once, as where memory runs out."""
    workers = world.stack.workers()

    def inject() -> None:
        for pid in workers.values():
            world.kill(pid, signal.SIGKILL)

    return Plan(
        what="SIGKILL to all workers",
        uses=frozenset({"supervisor", *(f"worker {pool}" for pool in pools.NAMES)}),
        touches=dict.fromkeys(pools.NAMES, Touch.WORKER),
        inject=inject,
        seen=lambda: all(is_another(world, pool, pid) for pool, pid in workers.items()),
        seen_s=BACK_OFF_S,
    )


def dies_twice(world: World, rng: Random) -> Plan:
    """A worker, and the one that comes after it."""
    pool = rng.choice(sorted(pools.NAMES))
    first = world.pid(pool)
    second: list[int] = []

    def next_one() -> bool:
        status = world.status()
        pid = status.pools[pool].worker.pid if status else None
        if pid not in {None, first}:
            second.append(pid or 0)
        return bool(second)

    def inject() -> None:
        world.kill(first, signal.SIGKILL)
        world.wait(next_one, f"another worker of {pool}", BACK_OFF_S)
        world.kill(second[0], signal.SIGKILL)

    return Plan(
        what=f"{pool} dies, and again in its back-off",
        uses=frozenset({"supervisor", f"worker {pool}"}),
        touches={pool: Touch.WORKER},
        inject=inject,
        seen=lambda: is_another(world, pool, second[0]),
        seen_s=BACK_OFF_S,
    )


def _ended(world: World, rng: Random, number: signal.Signals, seen_s: float) -> Plan:
    pool = rng.choice(sorted(pools.NAMES))
    pid = world.pid(pool)
    touches = {pool: Touch.WORKER}
    if number is signal.SIGSTOP and pool in pools.DRA:
        # It may hold the lock of RSD groups, which the vendor's tools share, until it is killed.
        touches = {**dict.fromkeys(pools.DRA, Touch.LISTS), **touches}
    return Plan(
        what=f"{number.name} to the worker of {pool}",
        uses=frozenset({f"worker {pool}"}),
        touches=touches,
        inject=lambda: world.kill(pid, number),
        seen=lambda: is_another(world, pool, pid),
        seen_s=seen_s,
        rest_s=seen_s,
    )


def is_another(world: World, pool: str, pid: int) -> bool:
    """Whether a pool has a worker that is not this one."""
    status = world.status()
    return status is not None and status.pools[pool].worker.pid not in {None, pid}

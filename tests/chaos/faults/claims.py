"""What claims leave on the node is damaged, and workers die while they prepare some."""

import contextlib
import signal
import threading
from collections import Counter
from functools import partial
from random import Random
from time import monotonic
from typing import Final

import grpc

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.faults import workers
from tests.chaos.touch import Touch
from tests.chaos.world import World
from tests.sim.dra_records import Claim

REST_S: Final = 30.0
STORM: Final = 60
"""Claims at once; the kubelet calls for each of them."""
CLOCK_JUMPS_S: Final = (-86_400, -3600, -1, 1, 3600, 86_400, 400 * 86_400)


def checkpoint_damaged(world: World, rng: Random) -> Plan:
    """A checkpoint becomes something else; its worker may die of another cause then."""
    pool = rng.choice(sorted(pools.DRA))
    path = world.dra.checkpoint(pool)
    how = rng.choice(("truncated", "empty", "garbage", "of another version", "of other types"))
    dies = rng.random() < 0.5
    pid = world.pid(pool)

    def inject() -> None:
        text = path.read_bytes()
        path.with_name("aside").write_bytes(
            {
                "truncated": text[: len(text) // 2],
                "empty": b"",
                "garbage": rng.randbytes(200),
                "of another version": b'{"schema": 99, "claims": {}}',
                "of other types": b'{"schema": 1, "claims": {"a": {"uid": 7}}}',
            }[how]
        )
        path.with_name("aside").replace(path)
        if dies:
            world.kill(pid, signal.SIGKILL)

    return Plan(
        what=f"the checkpoint of {pool} is {how}{', and its worker dies' if dies else ''}",
        uses=frozenset({"kubelet", "claims", f"worker {pool}"}),
        touches={pool: Touch.WORKER if dies else Touch.LISTS},
        inject=inject,
        seen=(lambda: workers.is_another(world, pool, pid)) if dies else None,
        seen_s=workers.BACK_OFF_S,
        rest_s=REST_S,
    )


def specs_full(world: World, _: Random) -> Plan | None:
    """The folder of CDI specs has no room."""
    if not world.namespace:
        return None
    filler = world.dra.specs / "filler"

    def inject() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    return Plan(
        what="the folder of CDI specs is full",
        uses=frozenset({"cdi", *pools.NAMES}),
        touches=_all_that_write_specs(world),
        inject=inject,
        undo=lambda: filler.unlink(missing_ok=True),
        rest_s=REST_S,
    )


def specs_removed(world: World, _: Random) -> Plan:
    """CDI specs of claims are removed; they are written again."""

    def inject() -> None:
        for path in world.dra.specs.glob("*claim*"):
            path.unlink(missing_ok=True)

    return Plan(
        what="CDI specs of claims are removed",
        uses=frozenset({"cdi"}),
        touches=dict.fromkeys(pools.DRA, Touch.LISTS),
        inject=inject,
        rest_s=REST_S,
    )


def dies_at_prepare(world: World, rng: Random) -> Plan:
    """A worker is killed when it has begun to prepare a claim."""
    pool = rng.choice(sorted(pools.DRA))
    path, pid = world.dra.checkpoint(pool), world.pid(pool)

    def begun() -> bool:
        try:
            return b'"started"' in path.read_bytes()
        except FileNotFoundError:
            return False

    def inject() -> None:
        world.wait(begun, f"{pool} prepares a claim", 20.0)
        world.kill(pid, signal.SIGKILL)

    return Plan(
        what=f"the worker of {pool} is killed while it prepares a claim",
        # With one of its devices away, it may prepare none.
        uses=frozenset({"claims", "api", "rsd", "kubelet", pool, f"worker {pool}"}),
        touches={pool: Touch.WORKER},
        inject=inject,
        seen=lambda: workers.is_another(world, pool, pid),
        seen_s=workers.BACK_OFF_S,
        rest_s=REST_S,
    )


def storm(world: World, rng: Random) -> Plan:
    """Many claims at once for a few devices: each device is prepared for one of them."""
    pool = rng.choice(sorted(pools.DRA))
    driver, side = pools.DRA[pool].driver, world.dra
    devices = sorted(pools.DRA[pool].npus)
    prepared: Counter[str] = Counter()
    lock = threading.Lock()

    def prepare(claim: Claim, device: str) -> None:
        with contextlib.suppress(grpc.RpcError, LookupError, ValueError):
            if not side.kubelet.dra.prepare(driver, [claim])[claim.uid].error:
                with lock:
                    prepared[device] += 1

    def inject() -> None:
        with world.claims.no_pods(30.0):
            claims = {
                side.create_claim(f"storm-{n}", driver, [devices[n % len(devices)]]): devices[
                    n % len(devices)
                ]
                for n in range(STORM)
            }
            threads = [threading.Thread(target=prepare, args=one) for one in claims.items()]
            began = monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took_s = monotonic() - began
            for claim in claims:
                ended = partial(_is_unprepared, world, driver, claim)
                world.wait(ended, f"{claim.name} is unprepared", 60.0)
                side.delete_claim(claim)
        assert all(prepared[device] <= 1 for device in devices), f"prepared twice: {prepared}"
        assert took_s < 60.0, f"{STORM} claims took {took_s:.1f} s"

    return Plan(
        what=f"{STORM} claims at once for {pool}",
        uses=frozenset({"claims", "kubelet", f"worker {pool}"}),
        touches={pool: Touch.LISTS},
        inject=inject,
        rest_s=REST_S,
    )


def tool_fails(world: World, rng: Random) -> Plan:
    """The vendor's tool hangs, fails or lies, or another program holds its lock."""
    rsd = world.dra.rsd
    knobs = rng.choice(
        (
            {"hangs": ["group"]},
            {"create": "fails"},
            {"create": "made, but fails"},
            {"create": "half"},
            {"create": "silent"},
            {"remove": "fails"},
            {"remove": "silent"},
            {"crashes": True},
            {"delay_s": 1.0},
        )
    )
    locked = contextlib.ExitStack()
    holds = rng.random() < 0.2

    def inject() -> None:
        if holds:
            locked.enter_context(rsd.locked())
        else:
            rsd.behave(**knobs)

    def undo() -> None:
        locked.close()
        rsd.behave()

    return Plan(
        what="another program holds the RSD lock" if holds else f"the RSD tool: {knobs}",
        uses=frozenset({"rsd"}),
        touches=dict.fromkeys(pools.DRA, Touch.LISTS),
        inject=inject,
        undo=undo,
        rest_s=REST_S,
    )


def clock_jumps(world: World, rng: Random) -> Plan | None:
    """The wall clock of all our processes jumps, and back: certificates may be of another time."""
    if not world.clock.is_possible:
        return None
    seconds = rng.choice(CLOCK_JUMPS_S)

    def inject() -> None:
        world.agent.wait_read(world.wait)  # an event of long ago is ignored
        world.clock.set_offset(seconds)

    return Plan(
        what=f"the wall clock jumps by {seconds} s",
        uses=frozenset({"agent", "api", "clock"}),
        touches=dict.fromkeys(pools.DRA, Touch.LISTS),
        is_sure=False,
        inject=inject,
        undo=lambda: world.clock.set_offset(0),
        rest_s=45.0,
    )


def _is_unprepared(world: World, driver: str, claim: Claim) -> bool:
    with contextlib.suppress(grpc.RpcError, LookupError, ValueError):
        return not world.kubelet.dra.unprepare(driver, [claim])[claim.uid]
    return False


def _all_that_write_specs(world: World) -> dict[str, Touch]:
    return dict.fromkeys(pools.NAMES if world.cdi else pools.DRA, Touch.LISTS)

"""The kubelet goes, refuses, forgets, and hangs; sockets of ours vanish."""

import shutil
from random import Random

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.touch import Touch
from tests.chaos.world import World

USES = frozenset({"kubelet"})
ALL = dict.fromkeys(pools.NAMES, Touch.STREAMS)


def stops(world: World, _: Random) -> Plan:
    """It stops, and starts."""
    return Plan(
        what="the kubelet stops, and starts",
        uses=USES,
        touches=ALL,
        inject=world.kubelet.stop,
        undo=world.kubelet.start,
    )


def restarts(world: World, rng: Random) -> Plan:
    """It restarts, some times in a row."""
    times = rng.randrange(1, 5)

    def inject() -> None:
        for _ in range(times):
            world.kubelet.restart()

    return Plan(what=f"the kubelet restarts, {times} times", uses=USES, touches=ALL, inject=inject)


def socket_anew(world: World, _: Random) -> Plan:
    """It replaces kubelet.sock."""
    return Plan(
        what="kubelet.sock is recreated",
        uses=USES,
        touches=ALL,
        inject=world.kubelet.recreate_socket,
    )


def refuses(world: World, _: Random) -> Plan:
    """It starts anew and refuses every plugin for a while."""

    def inject() -> None:
        world.kubelet.knobs.refusal = "not today"
        world.kubelet.restart()

    def undo() -> None:
        world.kubelet.knobs.refusal = None

    def seen() -> bool:
        return any(r.error == "not today" for r in world.kubelet.registrations[-len(pools.REST) :])

    return Plan(
        what="the kubelet refuses registrations",
        uses=USES,
        touches=ALL,
        inject=inject,
        undo=undo,
        seen=seen,
    )


def never_dials(world: World, _: Random) -> Plan:
    """It starts anew, takes registrations, and dials nobody for a while."""
    count = len(world.kubelet.registrations)

    def inject() -> None:
        world.kubelet.knobs.dials = False
        world.kubelet.restart()

    def undo() -> None:
        world.kubelet.knobs.dials = True

    return Plan(
        what="the kubelet takes registrations and never dials",
        uses=USES,
        touches=ALL,
        inject=inject,
        undo=undo,
        seen=lambda: len(world.kubelet.registrations) >= count + len(pools.REST),
    )


def stops_reading(world: World, _: Random) -> Plan:
    """It takes no message from any stream, as one that waits for its disk."""
    return Plan(
        what="the kubelet reads no message",
        uses=USES,
        inject=world.kubelet.pause_reading,
        undo=world.kubelet.resume_reading,
    )


def ends_a_stream(world: World, rng: Random) -> Plan:
    """It ends one stream and keeps its socket."""
    pool = rng.choice(sorted(pools.REST))
    former = world.endpoint(pool)
    return Plan(
        what=f"the kubelet ends the stream of {pool}",
        uses=frozenset({"kubelet", f"worker {pool}"}),
        touches={pool: Touch.STREAMS},
        inject=lambda: world.kubelet.close_stream(pool),
        seen=lambda: world.endpoint(pool) not in {"", former},
        seen_s=20.0,
    )


def socket_removed(world: World, rng: Random) -> Plan:
    """Somebody removes the socket of a pool."""
    pool = rng.choice(sorted(pools.REST))
    former = world.endpoint(pool)
    folders = (world.kubelet.plugins, world.kubelet.registry)

    def inject() -> None:
        for folder in folders:
            (folder / former).unlink(missing_ok=True)

    return Plan(
        what=f"the socket of {pool} is removed",
        uses=frozenset({"kubelet", f"worker {pool}"}),
        touches={pool: Touch.STREAMS},
        inject=inject,
        seen=lambda: world.endpoint(pool) not in {"", former},
        seen_s=20.0,
    )


def folder_removed(world: World, _: Random) -> Plan:
    """Its folder vanishes with all in it; a kubelet that starts makes it again."""

    def inject() -> None:
        world.kubelet.stop()
        aside = world.kubelet.folder.with_name("deleted")
        world.kubelet.folder.rename(aside)  # whole: workers may be about to make a socket in it
        shutil.rmtree(aside)

    def undo() -> None:
        world.kubelet.start()
        world.kubelet.running.write_checkpoint()

    return Plan(
        what="the kubelet's folder is deleted", uses=USES, touches=ALL, inject=inject, undo=undo
    )

"""What comes to a worker's own socket."""

import contextlib
import socket
from pathlib import Path
from random import Random

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.world import World
from tests.sim.rpc import DEVICE_PLUGIN, channel_to, code_of, stream, unary

AT_ONCE = 900
"""A gRPC server lets 1,000 calls wait; of more it cancels some at random."""
WAVES = 3
READERS = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def garbage(world: World, rng: Random) -> Plan:
    """Bytes that are no HTTP/2, or begin like it, and connections that say nothing."""
    pool, path = _any(world, rng)
    clients: list[socket.socket] = []

    def inject() -> None:
        for n in range(60):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(2)
            client.connect(str(path))
            clients.append(client)
            start = PREFACE if n % 2 else b""
            with contextlib.suppress(OSError):
                client.sendall(start + rng.randbytes(rng.choice((0, 9, 1000))))

    def undo() -> None:
        for client in clients:
            client.close()

    return Plan(what=f"garbage at the socket of {pool}", uses=_uses(pool), inject=inject, undo=undo)


def readers(world: World, rng: Random) -> Plan:
    """Clients that open a stream and read nothing of it."""
    pool, path = _any(world, rng)
    stack = contextlib.ExitStack()

    def inject() -> None:
        for _ in range(READERS):
            channel = stack.enter_context(channel_to(path))
            watch = stream(channel, DEVICE_PLUGIN, "ListAndWatch", pb.ListAndWatchResponse)
            stack.callback(watch(pb.Empty()).cancel)

    what = f"{READERS} clients of {pool} open streams and read nothing"
    return Plan(what=what, uses=_uses(pool), inject=inject, undo=stack.close)


def many(world: World, rng: Random) -> Plan:
    """Thousands of calls at once; all are answered."""
    pool, path = _any(world, rng)
    device = rng.choice(pools.REST[pool].devices)
    one = pb.ContainerAllocateRequest(devicesIDs=[device])
    request = pb.AllocateRequest(container_requests=[one])

    def inject() -> None:
        with channel_to(path) as channel:
            call = unary(channel, DEVICE_PLUGIN, "Allocate", pb.AllocateResponse)
            for _ in range(WAVES):
                futures = [call.future(request, timeout=30.0) for _ in range(AT_ONCE)]
                for future in futures:
                    error = future.exception()
                    assert error is None, f"{pool}: {code_of(error)}"

    # No other fault of this pool beside it: every one of these calls has to be answered.
    uses = frozenset({"kubelet", pool, f"worker {pool}", f"endpoint {pool}"})
    return Plan(what=f"{WAVES} times {AT_ONCE} calls at once to {pool}", uses=uses, inject=inject)


def _any(world: World, rng: Random) -> tuple[str, Path]:
    pool = rng.choice(sorted(pools.REST))
    name = world.endpoint(pool)
    folder = next(
        folder
        for folder in (world.kubelet.plugins, world.kubelet.registry)
        if (folder / name).exists()
    )
    return pool, folder / name


def _uses(pool: str) -> frozenset[str]:
    return frozenset({"kubelet", f"worker {pool}", f"endpoint {pool}"})

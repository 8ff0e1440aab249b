"""What comes to the sockets of the run directory, and what stays open there."""

import contextlib
import os
import socket
from pathlib import Path
from random import Random

import msgspec
import zmq

from rbln_supervisor.core.control.protocol import Reload, Rescan, Status, encode
from rbln_worker.contract.messages import Heartbeat, Hello
from rbln_worker.contract.messages import encode_message as encode_worker
from rbln_worker.contract.pool import PoolName
from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.world import World

SOCKETS = ("control.sock", "workers.sock")
FRAMES = 3000
CONNECTIONS = 100
OVERSIZED = 100 * 1024 * 1024


def garbage(world: World, rng: Random) -> Plan:
    """Frames that are no messages, messages of nobody, and bytes that are no frames."""
    path = world.stack.run_dir / rng.choice(SOCKETS)
    frames = [_frame(rng) for _ in range(FRAMES)]
    raw = [rng.randbytes(rng.choice((1, 64, 4096))) for _ in range(10)]

    def inject() -> None:
        _send(path, frames)
        for payload in raw:
            _say(path, payload)

    return Plan(what=f"{FRAMES} frames of garbage at {path.name}", uses=_uses(path), inject=inject)


def oversized(world: World, rng: Random) -> Plan:
    """A frame of 100 MiB."""
    path = world.stack.run_dir / rng.choice(SOCKETS)
    return Plan(
        what=f"a frame of 100 MiB at {path.name}",
        uses=_uses(path),
        inject=lambda: _send(path, [bytes(OVERSIZED)], linger_ms=500),
    )


def half_open(world: World, rng: Random) -> Plan:
    """Connections that say nothing, or half a greeting."""
    path = world.stack.run_dir / rng.choice(SOCKETS)
    clients: list[socket.socket] = []

    def inject() -> None:
        for n in range(CONNECTIONS):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(5)
            client.connect(str(path))
            if n % 2:
                client.sendall(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"[: n % 11])
            clients.append(client)

    def undo() -> None:
        for client in clients:
            client.close()

    what = f"{CONNECTIONS} half-open connections at {path.name}"
    return Plan(what=what, uses=_uses(path), inject=inject, undo=undo)


def never_reads(world: World, _: Random) -> Plan:
    """A client that asks thousands of times and reads no answer."""
    path = world.stack.run_dir / "control.sock"
    stack = contextlib.ExitStack()

    def inject() -> None:
        context = stack.enter_context(zmq.Context())
        dealer = stack.enter_context(context.socket(zmq.DEALER))
        dealer.linger = 0
        dealer.rcvhwm = 1
        dealer.connect(f"ipc://{path}")
        for _ in range(FRAMES // 3):
            dealer.send(encode(Status()))

    what = "a client asks and never reads"
    return Plan(what=what, uses=_uses(path), inject=inject, undo=stack.close)


def storm(world: World, rng: Random) -> Plan:
    """Hundreds of reloads and rescans, whose askers are gone when they are answered."""
    path = world.stack.run_dir / "control.sock"
    asked = [encode(rng.choice((Reload(), Rescan()))) for _ in range(300)]
    return Plan(
        what="300 reloads and rescans",
        uses=_uses(path) | {"config"},
        inject=lambda: _send(path, asked),
    )


def _uses(path: Path) -> frozenset[str]:
    return frozenset({"supervisor", path.name})


def _frame(rng: Random) -> bytes:
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.randrange(2000))
        case 1:
            return b"[" * rng.randrange(1, 60_000)
        case 2:
            pool = PoolName(rng.choice(sorted(pools.NAMES)))
            return encode_worker(Hello(pool=pool, pid=os.getpid(), incarnation="ab", version="0"))
        case 3:
            return encode_worker(Heartbeat(session="x", generation=2**63))
        case 4:
            return msgspec.msgpack.encode({"type": rng.choice(("hello", "report", "beat", "stop"))})
        case _:
            return msgspec.json.encode({"type": rng.choice(("status", "explain", "dry-run", "x"))})


def _send(path: Path, frames: list[bytes], linger_ms: int = 5000) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = linger_ms
        dealer.sndhwm = len(frames) + 1
        dealer.connect(f"ipc://{path}")
        for frame in frames:
            dealer.send(frame)


def _say(path: Path, payload: bytes) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(payload)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass

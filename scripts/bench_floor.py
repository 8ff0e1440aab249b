"""What processes such as ours cost before they do anything, and what ours cost: memory and CPU.

The others are forked from one that has imported the same libraries, and have what a worker can't do
without: a grpc.aio server on a unix socket whose one stream is open, a ZeroMQ socket on which they
say something every 2 s, and a thread that wakes up then. The devices, answers, health and files are
missing. Ours have two NPUs a pool. All in one run: it is the difference that means something.
"""

import argparse
import asyncio
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

# As rbln_supervisor/__main__.py does: else OpenSSL would be in all of them.
for name in ("ssl", "_hashlib"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]

import grpc  # noqa: E402
import grpc.aio  # noqa: E402
import zmq  # noqa: E402

if TYPE_CHECKING:
    Watch = grpc.UnaryStreamMultiCallable[bytes, bytes]
    Handlers = dict[str, grpc.RpcMethodHandler[bytes, bytes]]

PULSE_S: Final = 2.0
BEAT: Final = b"." * 66
"""As long as a worker's."""
SERVICE: Final = "floor.Floor"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench-floor", description=__doc__)
    parser.add_argument("--pools", type=int, nargs="+", default=(3, 8), metavar="N")
    parser.add_argument("--seconds", type=float, default=30.0, help="of rest (default: 30)")
    parser.add_argument(
        "--settled",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="after a start, until what is done once is over (default: 5)",
    )
    parser.add_argument("--empty", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.empty is not None:
        return _hub(given.empty, given.pools[0])
    print(
        "| pools | processes | private pages of a worker, MiB | all, each page once, MiB "
        "| idle CPU, % of a core |\n|---:|---|---:|---:|---:|"
    )
    for pools in given.pools:
        for what, begun in (("empty ones", _empty), ("ours, two NPUs each", _ours)):
            with begun(pools) as pids:
                threading.Event().wait(given.settled)
                print(f"| {pools} | {what} | {_measured(pids, given.seconds)} |", flush=True)
    return 0


def _measured(pids: Sequence[int], seconds: float) -> str:
    """The row's rest; ``pids``: the one that forked the others first."""
    from tests.bench.measuring import private_kib  # noqa: PLC0415 - not in the empty ones
    from tests.bench.own import idle_cores  # noqa: PLC0415
    from tests.bench.pages import together_kib  # noqa: PLC0415

    cores = idle_cores(pids, seconds)
    each = sorted(private_kib(pid) / 1024 for pid in pids[1:])
    once = "".join(f"{kib / 1024:.1f}" for kib in together_kib(pids)) or "needs root"
    return f"{each[len(each) // 2]:.1f} | {once} | {100 * cores:.2f}"


@contextmanager
def _ours(pools: int) -> Iterator[Sequence[int]]:
    from tests.bench import scene  # noqa: PLC0415 - not in the empty ones
    from tests.bench.roll import Roll  # noqa: PLC0415
    from tests.sim.stack import Stack  # noqa: PLC0415

    size = scene.Size("floor", pools, 2 * pools)
    devices = scene.npus(size.devices + size.devices % scene.CARD)[: size.devices]
    stack = Stack(scene.config(size, devices), lambda node: node.add(*devices))
    roll = Roll(stack.kubelet)
    with stack:
        roll.listed_s(size.devices, 0.0)
        yield (stack.pid, *stack.workers().values())


@contextmanager
def _empty(pools: int) -> Iterator[Sequence[int]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp")))
        command = [sys.executable, "-m", "scripts.bench_floor", "--empty", str(folder)]
        hub = stack.enter_context(
            subprocess.Popen([*command, "--pools", str(pools)], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(hub.send_signal, signal.SIGTERM)
        line = hub.stdout.readline() if hub.stdout else ""
        workers = [int(pid) for pid in line.split()]
        for number in range(pools):
            channel = stack.enter_context(grpc.insecure_channel(f"unix:{folder}/{number}"))
            watch: Watch = channel.unary_stream(f"/{SERVICE}/Watch")
            next(watch(b"", wait_for_ready=True))
        yield (hub.pid, *workers)


def _hub(folder: Path, pools: int) -> int:
    """Fork them, say who they are, and hear them until SIGTERM."""
    gc.collect()
    gc.freeze()
    workers = []
    for number in range(pools):
        pid = os.fork()
        if pid == 0:
            asyncio.run(_worker(folder, number))
        workers.append(pid)
    print(*workers, flush=True)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(f"ipc://{folder}/hub")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while True:
                router.recv_multipart()
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


async def _worker(folder: Path, number: int) -> None:
    async def watch(_: bytes, __: object) -> AsyncIterator[bytes]:
        yield b"."
        await asyncio.Event().wait()

    server = grpc.aio.server()
    handlers: Handlers = {"Watch": grpc.unary_stream_rpc_method_handler(watch)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"unix:{folder}/{number}")
    await server.start()
    loop = asyncio.get_running_loop()
    with (
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
        ThreadPoolExecutor(1) as pool,
    ):
        dealer.connect(f"ipc://{folder}/hub")
        while True:
            await asyncio.sleep(PULSE_S - loop.time() % PULSE_S)  # all at once, as ours
            dealer.send(BEAT)
            await loop.run_in_executor(pool, lambda: None)


if __name__ == "__main__":
    sys.exit(main())

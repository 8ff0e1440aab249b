"""rbln-ctl as a process, and somebody who answers it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from rbln_supervisor.core.matching.explain import Decision
from rbln_supervisor.core.matching.plan import Move, Plan, PoolPlan
from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName

ROOT = Path(__file__).parents[2]

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
    "PYTHONWARNINGS": "error",
}

STATUS = NodeStatus(
    SupervisorStatus(4711, "0.1.0", 75.5, ready=True),
    {
        "rebellions.ai/ATOM": PoolStatus(
            "serving",
            registered=True,
            registration="plugin-watcher",
            reason="",
            endpoint="rebellions.ai_ATOM-ab12.sock",
            worker=WorkerStatus(4720),
            devices={"0000:3b:00.0": DeviceStatus("Healthy", "", 0)},
        )
    },
)


PLAN = Plan(
    pools={
        PoolName("a/x"): PoolPlan(
            "changed",
            (DeviceId("d0"), DeviceId("d1")),
            {
                Decision.MATCHED: 2,
                Decision.REFUSED: 1,
                Decision.SHADOWED: 1,
                Decision.REJECTED: 3,
            },
        ),
        PoolName("a/y"): PoolPlan("added"),
        PoolName("a/z"): PoolPlan("removed"),
    },
    moves=(
        Move(DeviceId("d1"), None, PoolName("a/x")),
        Move(DeviceId("d2"), PoolName("a/z"), None),
    ),
    stay=1,
)


@contextlib.contextmanager
def supervisor(run_dir: Path, *answer: bytes) -> Iterator[list[bytes]]:
    """A ROUTER at the control socket that gives one answer to all, or none; and what was asked."""
    asked: list[bytes] = []
    with zmq.Context() as context:
        router, stop = context.socket(zmq.ROUTER), context.socket(zmq.PAIR)
        stop.bind("inproc://stop")
        with router, stop, context.socket(zmq.PAIR) as stopped:
            router.linger = 0
            router.bind(f"ipc://{run_dir}/control.sock")
            stopped.connect("inproc://stop")

            def serve() -> None:
                while True:
                    readable, _, _ = zmq.select([router, stop], [], [])
                    if stop in readable:
                        return
                    peer, *frames = router.recv_multipart()
                    asked.extend(frames)
                    if answer:
                        router.send_multipart([peer, *answer])

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield asked
            finally:
                stopped.send(b"")
                thread.join()


def ctl(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbln_supervisor.ctl", *map(str, arguments)],
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def unreachable(done: subprocess.CompletedProcess[str], line: str) -> None:
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"rbln-ctl: {line}\n"


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

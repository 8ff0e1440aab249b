"""Nodes that Prometheus scrapes: the real processes on simulated files, each with an exporter."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

import grpc

from tests.sim.exporter import Exporter, exporting
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOMS, VM, VMS, served

LOOPBACK: Final = "127.0.0.1"
_CALL_INTERVAL_S: Final = 0.2
_STOPPED_S: Final = 0.2
_RUNNING_S: Final = 0.01
BALLAST_BYTES: Final = 300_000_000


class System(NamedTuple):
    """How a node is made, and the pools that its kubelet lists."""

    make: Callable[[Path], AbstractContextManager[Stack]]
    """Takes a folder for files."""
    pools: tuple[str, ...] = (ATOM, VM)


class Node:
    """A simulated node with its exporter."""

    stack: Stack

    def __init__(self, name: str, system: System, home: Path) -> None:
        self.name = name
        self._system = system
        self.port = free_port()
        self._home = home
        self._exporter = ExitStack()
        self._background = ExitStack()
        self._running = ExitStack()

    @property
    def address(self) -> str:
        """The exporter's address."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._home.mkdir()
        self.stack = self._running.enter_context(self._system.make(self._home))
        served(self.stack, *self._system.pools)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_background()
        self.stop_exporter()
        self._running.close()

    def start_exporter(self, **variables: str) -> Exporter:
        """Start an exporter on the node's port."""
        made = exporting(
            self.stack.run_dir, self._home, "--listen", self.address, variables=variables
        )
        return self._exporter.enter_context(made)

    def stop_exporter(self) -> None:
        """Kill the exporter."""
        self._exporter.close()

    def start_leaking_exporter(self) -> None:
        """Replace the exporter by one with 300 MB more memory than it needs."""
        self.stop_exporter()
        modules = self._home / "ballast"
        modules.mkdir(exist_ok=True)
        (modules / "sitecustomize.py").write_text(f"ballast = b'leak' * {BALLAST_BYTES // 4}\n")
        self.start_exporter(PYTHONPATH=str(modules))

    def start_lean_exporter(self) -> None:
        """Replace the exporter by one without ballast."""
        self.stop_exporter()
        self.start_exporter()

    def call_steadily(self) -> None:
        """Allocate all day, as a busy node does."""
        self._background.enter_context(repeating(steady_calls(self.stack)))

    def starve_worker(self) -> None:
        """Let the worker of ATOM stand still again and again while it is called."""
        pid = self.stack.workers()[ATOM]
        self._background.enter_context(repeating(short_pauses(pid)))
        self._background.enter_context(repeating(large_calls(self.stack)))

    def stop_background(self) -> None:
        """End what runs in threads."""
        self._background.close()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as chosen:
        chosen.bind((LOOPBACK, 0))
        port: int = chosen.getsockname()[1]
        return port


@contextmanager
def repeating(action: Callable[[threading.Event], object]) -> Iterator[None]:
    """Repeat an action in a thread until the end of the block."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            action(over)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def steady_calls(stack: Stack) -> Callable[[threading.Event], object]:
    """What a node does all day: it allocates devices."""

    def call(over: threading.Event) -> None:
        with contextlib.suppress(grpc.RpcError):  # the machine may pause for longer than a call
            stack.kubelet.preferred(ATOM, ATOMS, [], 2)
            stack.kubelet.allocate(ATOM, [ATOMS[:2]])
            stack.kubelet.allocate(VM, [VMS[:1]])
        over.wait(_CALL_INTERVAL_S)

    return call


def short_pauses(pid: int) -> Callable[[threading.Event], object]:
    """What a worker has from overloaded CPUs: it stands still for most of the time."""

    def pause(over: threading.Event) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            over.wait(_STOPPED_S)
        finally:
            os.kill(pid, signal.SIGCONT)
        over.wait(_RUNNING_S)

    return pause


def large_calls(stack: Stack) -> Callable[[threading.Event], object]:
    """Calls that keep the worker busy, so that its pauses fall into them."""

    def call(_: threading.Event) -> None:
        stack.kubelet.allocate(ATOM, [ATOMS[:3]] * 250)

    return call

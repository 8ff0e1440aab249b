"""The real rbln-agent, as a process, and the Events that an API server has of it."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rbln_supervisor.agent.state_file import StateFile
from rbln_supervisor.core.events.series import AgentState
from rbln_supervisor.events.log import event_files
from tests.sim.api_server import SimApiServer
from tests.sim.system import REPOSITORY

NODE = "node-1"
STOP_DEADLINE_S = 20.0


class SeenEvent(NamedTuple):
    """An Event as people see it."""

    reason: str
    kind: str
    """Of the object that it is about."""
    name: str
    times: int


class Agent:
    """A running agent."""

    def __init__(
        self, run_dir: Path, kubeconfig: Path, *flags: str, under: Sequence[str] = ()
    ) -> None:
        """``under``: a command that runs it, with the same pid."""
        self.run_dir = run_dir
        self._arguments = (
            *under,
            *(sys.executable, "-m", "rbln_supervisor.agent", "--run-dir", str(run_dir)),
            *("--node-name", NODE, "--kubeconfig", str(kubeconfig), *flags),
        )
        self.log_path = kubeconfig.with_name("agent.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, cwd=REPOSITORY, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, and return its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(STOP_DEADLINE_S)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def state(self) -> AgentState:
        """What it has saved."""
        return StateFile(self.run_dir).state

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the files of events, by its keys."""
        sizes = {}
        for path in event_files(self.run_dir):
            with contextlib.suppress(FileNotFoundError):  # a pool is removed
                status = path.stat()
                sizes[f"{status.st_dev}:{status.st_ino}"] = status.st_size
        return sizes

    def has_read(self, sizes: dict[str, int]) -> bool:
        """Return True if it has saved that it read so much of each file that is still there."""
        known = self.state.positions
        return all(known.get(key, 0) >= sizes.get(key, 0) for key in self.sizes())

    @property
    def log(self) -> str:
        return self.log_path.read_text()


@contextmanager
def running_agent(run_dir: Path, kubeconfig: Path, *flags: str) -> Iterator[Agent]:
    """Start an agent; it is killed at the end if it still runs."""
    agent = Agent(run_dir, kubeconfig, *flags)
    agent.start()
    try:
        yield agent
    finally:
        if agent.is_running:
            agent.end(signal.SIGKILL)


def event_objects(server: SimApiServer) -> list[dict[str, Any]]:
    """Return all Events, in the order of their creation."""
    return [one for path, one in [*server.store.objects.items()] if "/events/" in path]


def seen_events(server: SimApiServer) -> list[SeenEvent]:
    """Return all Events as people see them."""
    return [
        SeenEvent(
            one["reason"],
            one["regarding"]["kind"],
            one["regarding"]["name"],
            one.get("series", {}).get("count", 1),
        )
        for one in event_objects(server)
    ]

"""The whole system on any node: a supervisor, its workers, and a simulated kubelet."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, send_request
from rbln_supervisor.pod_devices.process import NAME
from tests.sim import network, processes
from tests.sim.kubelet import SimKubelet
from tests.sim.nodes import Link
from tests.sim.waiting import pauses

STOP_DEADLINE_S: Final = 10.0

REPOSITORY: Final = Path(__file__).parents[2]


class Stopped(NamedTuple):
    """How a supervisor ended after SIGTERM."""

    code: int
    """As in subprocess: the exit code, or minus the signal's number."""
    seconds: float


class System:
    """A kubelet, a supervisor and its workers, from ``with`` to the end of the block.

    At the end the supervisor is stopped as supervisord would; a worker that survives that fails the
    test. Whatever is left is killed. A failed test is followed by what everybody saw.
    """

    def __init__(
        self,
        config: object,
        root: Path,
        home: Path,
        *,
        arguments: Sequence[str] = (),
        registration: str = "auto",
        kubelet: Callable[[Path], SimKubelet] = SimKubelet,
        kubelet_dir: Path = Path("/var/lib/kubelet"),
        late_kubelet: bool = False,
        watch_config: bool = False,
        links: Mapping[str, Link] | None = None,
    ) -> None:
        """``root`` holds the node; ``home`` is a folder of our own, with a short path.

        ``config`` is the file as a value, or as raw text. ``kubelet`` makes a kubelet of its folder
        (``kubelet_dir`` below ``root``); a late one is the test's to start. The file is not watched
        unless ``watch_config`` says so: most tests reload when they say so. ``links`` are those of
        a network namespace that the supervisor gets for itself.
        """
        self._home = home
        self.root = root
        self.run_dir = home / "r"
        self.config_file = home / "config.json"
        self.log_file = home / "log"
        self.kubelet = kubelet(root / kubelet_dir.relative_to("/"))
        self.arguments = (
            *("--kubelet-dir", str(kubelet_dir)),
            *("--device-plugins-dir", str(kubelet_dir / "device-plugins")),
            *arguments,
            *("--registration", registration),
            f"--watch-config={watch_config}",
        )
        self.namespace: int | None = None
        """A process in whose network namespace the next supervisor starts; None: in a new one."""
        self.under: tuple[str, ...] = ()
        """A command that runs the supervisor's, with the same pid."""
        self._late_kubelet = late_kubelet
        self._links = links
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.write_config(config)

    def __enter__(self) -> Self:
        if not self._late_kubelet:
            self.kubelet.start()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left: tuple[int, ...] = ()
        try:
            if error is not None:
                print(self.story(), file=sys.stderr)
            if self._supervisor is not None:
                stopped = self.stop()
                left = processes.survivors(self._all_processes(), deadline_s=1.0)
                if error is None:
                    assert stopped.code == 0, f"exit code {stopped.code}\n{self.story()}"
                    assert not left, f"workers {left} outlived a stop\n{self.story()}"
        finally:
            processes.kill(self._all_processes())
            if self._supervisor is not None:
                self._supervisor.wait()
            self.kubelet.stop()
            shutil.rmtree(self._home)

    def write_config(self, config: object) -> None:
        """Replace the configuration file, whole."""
        text = config.encode() if isinstance(config, str) else msgspec.json.encode(config)
        aside = self.config_file.with_suffix(".new")
        aside.write_bytes(text)
        aside.replace(self.config_file)

    # The supervisor and its workers

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._running().pid

    def start(self) -> None:
        """Start a supervisor; the first one is started by ``with``."""
        assert self._supervisor is None, "a supervisor runs"
        command: Sequence[str | Path] = [
            *self.under,
            *(sys.executable, "-m", "rbln_supervisor"),
            *("--config-file", self.config_file),
            *("--host-root", self.root),
            *("--run-dir", self.run_dir),
            *self.arguments,
        ]
        if self.namespace is not None:
            command = [*network.entered(self.namespace), *command]
        elif self._links is not None:
            command = network.inside(network.commands(self._links), command)
        with self.log_file.open("ab") as log:
            self._supervisor = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, processes.MARK: str(self.run_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Stopped:
        """SIGTERM; AssertionError where the supervisor does not end in time."""
        supervisor, began = self._running(), monotonic()
        supervisor.send_signal(signal.SIGTERM)
        assert processes.has_ended(supervisor.pid, deadline_s), (
            f"the supervisor lives {deadline_s} s after SIGTERM\n{self.story()}"
        )
        self._supervisor = None
        return Stopped(supervisor.wait(), monotonic() - began)

    def kill(self) -> None:
        """SIGKILL the supervisor alone; its workers stay."""
        supervisor = self._running()
        supervisor.kill()
        supervisor.wait()
        self._supervisor = None

    def wait_exit(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """The exit code of a supervisor that ends by itself."""
        supervisor = self._running()
        assert processes.has_ended(supervisor.pid, deadline_s), (
            f"the supervisor still lives after {deadline_s} s\n{self.story()}"
        )
        self._supervisor = None
        return supervisor.wait()

    def processes(self) -> tuple[int, ...]:
        """The pids of all that live: the supervisor, its workers, and workers of earlier ones.

        Not of the one that asks the kubelet for pods' devices.
        """
        names = {pid: processes.name_of(pid) for pid in self._all_processes()}
        # One that has ended meanwhile has no name.
        return tuple(pid for pid, name in names.items() if name not in {NAME, ""})

    def pod_watchers(self) -> tuple[int, ...]:
        """The pids of those that ask the kubelet for pods' devices: one for a supervisor."""
        return tuple(pid for pid in self._all_processes() if processes.name_of(pid) == NAME)

    def workers(self) -> dict[str, int]:
        """The pids of the living workers by pool, as the supervisor says."""
        pools = self.status().pools
        return {
            name: pool.worker.pid for name, pool in pools.items() if pool.worker.pid is not None
        }

    # What it says

    def ctl(self, *arguments: str, deadline_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run rbln-ctl."""
        return subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", self.run_dir, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )

    def status(self) -> NodeStatus:
        """What ``rbln-ctl status`` would say, without a process for the question."""
        reply = send_request(self.run_dir, Status())
        assert isinstance(reply, StatusReply), reply
        return reply.status

    def wait_status(
        self, condition: Callable[[NodeStatus], object], deadline_s: float = 30.0, *, what: str
    ) -> NodeStatus:
        """The first status for which ``condition`` holds; AssertionError with everything else."""
        end, pause = monotonic() + deadline_s, pauses()
        while monotonic() < end:
            try:
                status = self.status()
            except UnreachableError:
                pass  # it is starting, or starting again
            else:
                if condition(status):
                    return status
            if processes.has_ended(self.pid, next(pause)):
                raise AssertionError(f"the supervisor ended before: {what}\n{self.story()}")
        raise AssertionError(f"not within {deadline_s} s: {what}\n{self.story()}")

    @property
    def log(self) -> str:
        """All that the supervisor and its workers wrote."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def story(self) -> str:
        """What everybody saw, for the message of a failed test."""
        try:
            status = msgspec.json.format(msgspec.json.encode(self.status())).decode()
        except (UnreachableError, AssertionError) as error:
            status = str(error)
        return f"{self.kubelet.story()}\nstatus:\n{status}\nlog:\n{self.log}"

    def _all_processes(self) -> tuple[int, ...]:
        return processes.marked(str(self.run_dir))

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._supervisor is not None, "no supervisor runs"
        return self._supervisor

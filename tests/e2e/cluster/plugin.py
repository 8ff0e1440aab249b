"""The system under test: a real rbln-supervisor with its workers, beside a real kubelet."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Final, Self

import msgspec

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, send_request
from tests.e2e.cluster.setting import KUBELET_DIR
from tests.e2e.cluster.traces import Traces
from tests.sim import processes
from tests.sim.stack import REPOSITORY

FOLDERS: Final = {
    "kubelet-sock": KUBELET_DIR / "device-plugins",
    "plugin-watcher": KUBELET_DIR / "plugins_registry",
}
WAYS: Final = tuple(FOLDERS)
DEADLINE_S: Final = 20.0


class Plugin:
    """One supervisor of a run directory: started and stopped as often as you like."""

    def __init__(
        self,
        home: Path,
        host_root: Path,
        config: object,
        registration: str,
        traces: Traces,
        *flags: str,
        program: Path = REPOSITORY,
    ) -> None:
        """``flags``: further ones of rbln-supervisor; ``program``: the folder of its packages."""
        self._program = program
        self.run_dir = home / "run"
        traces.add_processes(str(self.run_dir))
        self.registration = registration
        self._log_file = home / "log"
        home.mkdir(parents=True, exist_ok=True)
        config_file = home / "config.json"
        config_file.write_bytes(msgspec.json.encode(config))
        self._command: Sequence[str | Path] = (
            *(sys.executable, "-m", "rbln_supervisor", "--config-file", config_file),
            *("--host-root", host_root, "--run-dir", self.run_dir),
            *("--registration", registration),
            *flags,
        )
        self._notify = home / "notify"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop()
        processes.kill(processes.marked(str(self.run_dir)))

    @property
    def runs(self) -> bool:
        """Whether a supervisor runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that its processes wrote."""
        return self._log_file.read_text(errors="replace")

    def start_as_unit(self, *, late: Callable[[], None] | None = None) -> float:
        """Start it as systemd does, and wait for READY=1; seconds that took.

        What the unit is ordered before, the kubelet, is started after that. ``late`` is called as
        soon as every pool has a device in its list; READY may not come before.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            self._notify.unlink(missing_ok=True)
            notices.bind(str(self._notify))
            notices.settimeout(DEADLINE_S)
            began = self.start(NOTIFY_SOCKET=str(self._notify))
            if late is not None:
                self.wait(
                    lambda status: all(pool.devices for pool in status.pools.values()),
                    what="every pool lists devices that pods hold",
                )
                notices.setblocking(False)  # noqa: FBT003
                with suppress(BlockingIOError):
                    while notice := notices.recv(4096):
                        assert b"READY=1" not in notice.splitlines()
                notices.settimeout(DEADLINE_S)
                late()
            while b"READY=1" not in notices.recv(4096).splitlines():
                pass
        return monotonic() - began

    def start(self, **environment: str) -> float:
        """Start the supervisor; when that was (monotonic)."""
        began = monotonic()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._program,
                env={**os.environ, processes.MARK: str(self.run_dir), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        return began

    def stop(self) -> float:
        """SIGTERM, and wait until it and its workers have left; when it was sent (monotonic)."""
        began = monotonic()
        self._end(signal.SIGTERM)
        left = processes.survivors(processes.marked(str(self.run_dir)), deadline_s=DEADLINE_S)
        assert not left, f"workers {left} outlived a stop\n{self.log}"
        return began

    def kill(self) -> float:
        """SIGKILL the supervisor alone; when (monotonic)."""
        began = monotonic()
        self._end(signal.SIGKILL)
        return began

    def lose_power(self) -> None:
        """End all of its processes at once, and take away what lies in memory."""
        if self._process is not None:
            self.kill()
        processes.kill(processes.marked(str(self.run_dir)))
        shutil.rmtree(self.run_dir)

    def kill_worker(self, pool: str) -> float:
        """SIGKILL a pool's worker; when (monotonic)."""
        pid = self.worker(pool)
        began = monotonic()
        os.kill(pid, signal.SIGKILL)
        return began

    def worker(self, pool: str) -> int:
        """The pid of a pool's worker."""
        pid = self.status().pools[pool].worker.pid
        assert pid is not None, f"{pool} has no worker\n{self.log}"
        return pid

    def rescan(self) -> float:
        """``rbln-ctl rescan``; when it was called (monotonic)."""
        began = monotonic()
        self.ctl("rescan")
        return began

    def ctl(self, *arguments: str) -> str:
        """Run ``rbln-ctl``; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", self.run_dir, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"rbln-ctl {arguments}: {done.stderr}\n{self.log}"
        return done.stdout

    def status(self) -> NodeStatus:
        """What ``rbln-ctl status`` says."""
        reply = send_request(self.run_dir, Status())
        assert isinstance(reply, StatusReply), reply
        return reply.status

    def wait(self, condition: Callable[[NodeStatus], object], *, what: str) -> NodeStatus:
        """The first status for which a condition holds; AssertionError with the log."""
        end = monotonic() + DEADLINE_S
        while monotonic() < end:
            try:
                status = self.status()
            except UnreachableError:
                pass
            else:
                if condition(status):
                    return status
            assert self._process is not None
            assert not processes.has_ended(self._process.pid, 0.02), f"it ended\n{self.log}"
        raise AssertionError(f"not within {DEADLINE_S} s: {what}\n{self.log}")

    def serves(self, *pools: str) -> NodeStatus:
        """Wait until it says that these pools are registered."""
        return self.wait(
            lambda status: all(
                name in status.pools and status.pools[name].registered for name in pools
            ),
            what=f"{', '.join(pools)} registered",
        )

    def socket(self, pool: str) -> Path:
        """The pool's own socket, as the kubelet knows it."""
        endpoint = self.status().pools[pool].endpoint
        assert endpoint, f"{pool} has no socket\n{self.log}"
        return FOLDERS[self.registration] / endpoint

    def registered_at(self, pool: str, since: float) -> float:
        """When its log first said after a time that the kubelet lists a pool (wall clock)."""
        for line in self.log.splitlines():
            when, _, text = line.partition(" ")
            if f"{pool}: registered: the kubelet lists" in text:
                at = datetime.fromisoformat(when).timestamp()
                if at >= since:
                    return at
        raise AssertionError(f"{pool} was not registered after {since}\n{self.log}")

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process = None

"""The image in a container, beside a simulated node and kubelet: started, asked, stopped."""

import http.client
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec

from rbln_supervisor.core.status import NodeStatus
from tests.e2e.image.build import IMAGE
from tests.e2e.image.engine import Engine
from tests.sim.kubelet import SimKubelet
from tests.sim.node import SimNode
from tests.sim.nodes import demo
from tests.system.scene import TWO_POOLS

WORDS: Final = (
    *("--network", "host", "--log-driver", "k8s-file"),
    *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"),
    *("--env", "RBLN_EXPORTER_LISTEN=127.0.0.1:0"),
)
"""For podman, wherever it runs: network functions are looked at in the host's namespace."""

STRICT: Final = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/run/rbln:mode=0700"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""All that can be taken away: nothing but the run directory can be written to."""

GRACE_S: Final = 10
"""From SIGTERM to SIGKILL; Kubernetes' own default is 30."""
_AGAIN_S: Final = 0.05


class Stopped(NamedTuple):
    """How a container ended."""

    code: int
    seconds: float


class Container:
    """A node, a kubelet, and a container with the plugin, from ``with`` to the end of the block."""

    def __init__(
        self,
        engine: Engine,
        *,
        words: Sequence[str] = STRICT,
        arguments: Sequence[str] = (),
        config: object = TWO_POOLS,
        kubelet: Callable[[Path], SimKubelet] = SimKubelet,
        mounts: Callable[["Container"], Sequence[str]] | None = None,
    ) -> None:
        """``words`` go to podman, ``arguments`` to the image. ``mounts`` are places of the node.

        Where there are none, the whole node is where it is outside: a plugin watcher is told
        the path of a socket, and looks for it there.
        """
        self._engine = engine
        self._words, self._arguments, self._mounts = words, arguments, mounts
        self.home = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
        self.name = self.home.name
        self.root = self.home / "n"
        self.node = SimNode(self.root)
        demo(self.node)
        self.kubelet = kubelet(self.root / "var/lib/kubelet")
        self.config_folder = self.home / "c"
        self.config_folder.mkdir()
        self.write_config(config)
        self.started_at = 0.0
        """When podman was asked to run it (monotonic)."""

    def __enter__(self) -> Self:
        self.kubelet.start()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                print(self.story(), file=sys.stderr)
        finally:
            self._engine.podman("rm", "--force", "--ignore", "--time", "0", self.name)
            self.kubelet.stop()
            shutil.rmtree(self.home)

    def write_config(self, config: object) -> None:
        """Replace the configuration file, whole."""
        text = config.encode() if isinstance(config, str) else msgspec.json.encode(config)
        aside = self.config_folder / ".new"
        aside.write_bytes(text)
        aside.replace(self.config_folder / "config.json")

    def start(self) -> None:
        """Run the image; the container is there, and may have ended, when this returns."""
        if self._mounts is None:
            where: Sequence[str] = ("--volume", f"{self.root}:{self.root}")
            more: Sequence[str] = (f"--host-root={self.root}",)
        else:
            where, more = self._mounts(self), ()
        self.started_at = monotonic()
        self._engine.podman(
            *("run", "--detach", "--name", self.name, *WORDS, *self._words, *where),
            *("--volume", f"{self.config_folder}:/etc/pcidp:ro"),
            *(IMAGE, *self._arguments, *more),
        )

    def stop(self) -> Stopped:
        """SIGTERM to its first process; SIGKILL to all of them where the grace time is over."""
        began = monotonic()
        self._engine.podman("stop", "--time", str(GRACE_S), self.name)
        return Stopped(self.wait(), monotonic() - began)

    def kill(self) -> None:
        """SIGKILL to all of it, and wait for its end."""
        self._engine.podman("kill", self.name)
        self.wait()

    def start_again(self) -> None:
        """Start what has ended, with its files as they are and all that is mounted."""
        self._engine.podman("start", self.name)

    def wait(self) -> int:
        """The exit code, as soon as it has ended."""
        return int(self._engine.podman("wait", self.name))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return self._engine.tried("exec", self.name, *command)

    def signal(self, pid: int, number: int) -> None:
        """Signal one process, by its pid inside."""
        told = self.run("sh", "-c", f"kill -{number:d} {pid}")
        assert told.returncode == 0, told

    def status(self) -> NodeStatus:
        """What ``rbln-ctl status --json`` says inside."""
        told = self.run("rbln-ctl", "status", "--json")
        assert told.returncode == 0, f"{told}\n{self.log}"
        return msgspec.json.decode(told.stdout, type=NodeStatus)

    def wait_status(self, condition: Callable[[NodeStatus], object], *, what: str) -> NodeStatus:
        """The first status for which ``condition`` holds, of whichever supervisor answers."""
        end = monotonic() + 20.0
        while monotonic() < end:
            told = self.run("rbln-ctl", "status", "--json")
            if told.returncode == 0:
                status = msgspec.json.decode(told.stdout, type=NodeStatus)
                if condition(status):
                    return status
            sleep(_AGAIN_S)
        raise AssertionError(f"not within 20 s: {what}")

    @property
    def log(self) -> str:
        """All that was written to its standard output and error."""
        told = self._engine.tried("logs", self.name)
        return told.stdout + told.stderr

    def scraped(self, path: str) -> int:
        """The HTTP status of a page of the newest exporter; 0 where none has served yet."""
        ports = re.findall(r"exporter: serving .*port=(\d+)", self.log)
        if not ports:
            return 0
        connection = http.client.HTTPConnection("127.0.0.1", int(ports[-1]), timeout=10.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def sockets(self) -> set[str]:
        """What lies in the kubelet's folders beside the kubelet's own socket."""
        return {
            path.name
            for folder in (self.kubelet.plugins, self.kubelet.registry)
            if folder.is_dir()
            for path in folder.iterdir()
            if path.is_socket() and path.name != "kubelet.sock"
        }

    def story(self) -> str:
        """What everybody saw, for the message of a failed test."""
        return f"{self.kubelet.story()}\nlog:\n{self.log}"

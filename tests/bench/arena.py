"""A simulated node at the places where a plugin looks: /sys, /dev, /var/lib/kubelet, /etc/pcidp.

One process makes namespaces of its own (mounts, network, pids) and holds them; plugins are started
in them. It waits for the end of its standard input and is their init process: when the bench ends,
however it does, the kernel ends all of them, and the mounts go with them.
"""

import os
import shlex
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket
from stat import S_IFCHR
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.sim import processes
from tests.sim.device import SimDevice
from tests.sim.kubelet import SimKubelet
from tests.sim.node import SimNode

KUBELET: Final = Path("/var/lib/kubelet")
CONFIG: Final = Path("/etc/pcidp/config.json")
"""Where a plugin looks that is not told of any."""
_REAL: Final = ("null", "zero", "full", "random", "urandom", "tty")
"""Nodes that programs need; they are the machine's."""
_NULL: Final = os.makedev(1, 3)
_END_S: Final = 10.0


class RealNodes(SimNode):
    """A node whose /dev has character devices: who looks at a real /dev may ask for them."""

    def add_dev_node(self, name: str) -> None:
        """Make a node: another null device."""
        place = self.tree.at(f"/dev/{name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(place, S_IFCHR | 0o666, _NULL)


def prove_nodes() -> None:
    """NotPossible where no device nodes can be made: root of a user namespace may not."""
    with tempfile.TemporaryDirectory(prefix="rba-", dir="/tmp") as folder:
        try:
            os.mknod(Path(folder) / "null", S_IFCHR | 0o666, _NULL)
        except PermissionError as error:
            raise NotPossible(f"device nodes can't be made: {error.strerror}") from error


class NotPossible(Exception):
    """The namespaces can't be made here; the text says what failed."""


class Arena:
    """A node, its kubelet and the namespaces, from ``with`` to the end of the block."""

    def __init__(self, config: object, devices: Iterable[SimDevice]) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"rba-{os.getpid()}-", dir="/tmp"))
        self.root = self.home / "n"
        self.node = RealNodes(self.root)
        self.kubelet = SimKubelet(self.root / KUBELET.relative_to("/"))
        self.config = self.home / CONFIG.name
        self.config.write_bytes(msgspec.json.encode(config))
        self._holder: subprocess.Popen[str] | None = None
        try:
            self.node.add(*devices)
        except BaseException:
            shutil.rmtree(self.home)
            raise

    def __enter__(self) -> Self:
        try:
            self.kubelet.start()
            self._holder = self._hold()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """A process in the namespaces of mounts and of the network."""
        assert self._holder is not None
        return self._holder.pid

    def inside(self, command: Sequence[object]) -> list[str]:
        """The command that runs another one in here, in the same working directory."""
        of = Path(f"/proc/{self.pid}/ns")
        # Entering a namespace of mounts leads to its root directory.
        go = ("sh", "-c", 'cd "$0" && exec "$@"', Path.cwd())
        return [
            "nsenter",
            f"--net={of / 'net'}",
            f"--mount={of / 'mnt'}",
            f"--pid={of / 'pid_for_children'}",
            *map(str, (*go, *command)),
        ]

    def processes(self) -> tuple[int, ...]:
        """All that were started in here and live, and what they started."""
        mine = Path(f"/proc/{self.pid}/ns/pid_for_children").readlink()
        return tuple(pid for pid in _pids() if _is_in(pid, mine) and _parent(pid) != self.pid)

    def child_of(self, pid: int) -> int | None:
        """The process in here that was started by one outside."""
        return next((one for one in self.processes() if _parent(one) == pid), None)

    def serving(self, endpoint: str) -> int:
        """The process that listens on a plugin's socket."""
        with socket(AF_UNIX, SOCK_STREAM) as probe:
            probe.connect(str(self.kubelet.plugins / endpoint))
            pid, _, _ = struct.unpack("3i", probe.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
        return int(pid)

    def _hold(self) -> "subprocess.Popen[str]":
        (self.home / "over").mkdir()
        for name in _REAL:
            (self.root / "dev" / name).touch()
        for name in ("pts", "shm"):
            (self.root / "dev" / name).mkdir()
        holder = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"),
                *("--propagation", "private", "sh", "-ec", "\n".join(self._setup())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            why = holder.stderr.read().strip().splitlines() or ["it ended"]
            holder.kill()
            holder.communicate()
            raise NotPossible(f"namespaces can't be made: {why[-1]}")
        return holder

    def _setup(self) -> Iterator[str]:
        """Shell commands; their mounts are seen by nobody else."""
        root, over = shlex.quote(str(self.root)), shlex.quote(str(self.home / "over"))
        yield f"mount -t tmpfs tmpfs {over}"
        for folder in (KUBELET, CONFIG.parent):
            # Where the machine has no such folder it gets none: what is above is covered.
            above = f"{over}/{folder.name}"
            yield f"[ -d {folder} ] || {{ mkdir -p {above}/new {above}/work"
            options = f"lowerdir={folder.parent},upperdir={above}/new,workdir={above}/work"
            yield f"mount -t overlay overlay -o {options} {folder.parent}; mkdir {folder}; }}"
        yield f"mount --bind {root}{KUBELET} {KUBELET}"
        yield f"mount -t tmpfs tmpfs {CONFIG.parent}"
        yield f"cp {shlex.quote(str(self.config))} {CONFIG}"
        yield "mount -t tmpfs tmpfs /run"
        yield "mount -t proc proc /proc"
        for name in _REAL:
            yield f"mount --bind /dev/{name} {root}/dev/{name}"
        yield f"mount -t tmpfs tmpfs {root}/dev/shm"
        yield f"mount --rbind {root}/dev /dev"
        yield f"mount --bind {root}/sys /sys"
        yield "ip link set lo up"
        yield "echo ready"
        yield "read -r end || true"

    def _end(self) -> None:
        """End all; what the kernel has not ended by then is an error of ours."""
        if self._holder is not None:
            left = self.processes()
            self._holder.communicate("\n", timeout=_END_S)
            alive = processes.survivors(left, _END_S)
            assert not alive, f"{alive} outlived their namespace"
        self.kubelet.stop()
        shutil.rmtree(self.home)


def _pids() -> tuple[int, ...]:
    return tuple(int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())


def _is_in(pid: int, namespace: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() == namespace
    except OSError:
        return False


def _parent(pid: int) -> int:
    """The parent's pid; 0 of a process that is no more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])

"""One node with its control plane, on this machine: started, restarted in parts, taken down."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.e2e import packages
from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster import config, host
from tests.e2e.cluster.api import Api
from tests.e2e.cluster.daemons import Daemons
from tests.e2e.cluster.setting import KUBELET_DIR, NODE, Places
from tests.e2e.cluster.traces import Traces

UP_WITHIN_S: Final = 60.0
AGAIN_S: Final = 0.02
CTR_TIMEOUT_S: Final = 120.0
"""An import unpacks an image."""

_PARTS: Final = (
    *("kubelet", "kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd"),
)
_LOG_FOLDERS: Final = (Path("/var/log/pods"), Path("/var/log/containers"))
"""Where every kubelet puts its pods' logs."""
_NUMA_NODES: Final = Path("/sys/devices/system/node")


@contextmanager
def only_one(places: Places, lock: str = "lock") -> Iterator[None]:
    """Be the machine's only run, or the only one of a kind; CannotRun."""
    places.runs.mkdir(parents=True, exist_ok=True)
    with (places.runs / lock).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRun("another run of it is under way on this machine") from None
        yield


class Cluster:
    """etcd, API server, scheduler, containerd and kubelet; ``with`` is its whole life."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.daemons = Daemons(places.runs, places.logs)
        self.traces = Traces(places.runs / "traces.json")
        self.ports = config.free_ports()
        self.started_s = 0.0
        """How long the start took, until the node was ready."""
        self.api = Api(places.state / "keys" / "apiserver.crt")
        self.node_root = Path(tempfile.mkdtemp(prefix="rbe-", dir="/tmp"))
        """The simulated node: its sys is the /sys of every container and of CNI plugins. Its path
        is short, for sockets below it."""

    def __enter__(self) -> "Cluster":
        self.down()  # what a run left that was killed
        self._claim_folders()
        for path in self.places.logs.glob("*.log"):
            if path.stem not in {"apt", "build"}:
                path.unlink()
        began = monotonic()
        try:
            self._up()
            self.started_s = monotonic() - began
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def start_kubelet(self, *, numa_nodes: int = 1, topology_policy: str = "none") -> None:
        """Start it and wait until it takes registrations; more than one NUMA node is make-believe.

        Only the kubelet sees these: its mount namespace has another list of nodes.
        """
        (self.places.state / "kubelet.json").write_text(
            config.kubelet_settings(self.places, self.ports, topology_policy)
        )
        command = list(config.kubelet(self.places, host.address()))
        if numa_nodes > 1:
            nodes = self._fake_numa_nodes(numa_nodes)
            # Its volumes are those of the kubelet before it: the rest of the mounts stays shared.
            script = f'mount --make-rprivate /sys && mount --bind "$0" {_NUMA_NODES} && exec "$@"'
            command = [
                *("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script),
                *(nodes, *command),
            ]
        # Nobody is to look for a cloud's metadata server.
        environment = {"AWS_EC2_METADATA_DISABLED": "true", "TZ": "UTC"}
        self.daemons.start("kubelet", command, environment)

    def stop_kubelet(self) -> None:
        """Stop it alone; pods run on."""
        self.daemons.stop("kubelet")

    def wait_kubelet(self) -> None:
        """Wait until it takes registrations and its node is ready."""
        self.wait("kubelet", _answers(KUBELET_DIR / "device-plugins" / "kubelet.sock"))
        self.wait("kubelet", self.api.node_ready)

    def restart_kubelet(self, *, numa_nodes: int = 1, topology_policy: str = "none") -> None:
        """Stop, start, wait."""
        self.stop_kubelet()
        self.start_kubelet(numa_nodes=numa_nodes, topology_policy=topology_policy)
        self.wait_kubelet()

    def ctr(self, *arguments: str) -> str:
        """Containerd's own client, in the kubelet's namespace."""
        done = subprocess.run(
            [
                *(self.places.runtime / "ctr", "-a", self.places.containerd_socket),
                *("-n", "k8s.io", *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=CTR_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def kill_container(self, uri: str) -> None:
        """SIGKILL the first process of a container."""
        self.ctr("tasks", "kill", "-s", "SIGKILL", uri.removeprefix("containerd://"))

    def wait(self, name: str, condition: Callable[[], object]) -> None:
        """Wait for a part; RuntimeError with its last lines where it ends instead."""
        end = monotonic() + UP_WITHIN_S
        while not condition():
            if not self.daemons.alive(name) or monotonic() > end:
                lines = self.daemons.log(name).read_text(errors="replace").splitlines()[-15:]
                raise RuntimeError("\n".join([f"{name} did not come up:", *lines]))
            time.sleep(AGAIN_S)

    def start_api_server(self) -> None:
        """Start it; `api.ready` tells when it serves."""
        command = self._with_node_name(config.api_server(self.places, self.ports))
        self.daemons.start("kube-apiserver", command)

    def _claim_folders(self) -> None:
        self.traces.add_folder(self.node_root)
        for folder in (KUBELET_DIR, *_LOG_FOLDERS):
            try:
                self.traces.add_folder(folder)
            except FileExistsError as error:
                raise CannotRun(f"{folder} belongs to another kubelet of this machine") from error

    def start_containerd(self) -> None:
        """Start containerd where /sys is the simulated node's; wait until it answers."""
        pid = self.daemons.pid("namespace")
        assert pid is not None, "the node's mount namespace is gone"
        self.daemons.start(
            "containerd",
            (
                *("nsenter", f"--mount=/proc/{pid}/ns/mnt"),
                *(self.places.runtime / "containerd", "-c", self.places.state / "containerd.toml"),
            ),
            {"PATH": f"{self.places.runtime}:{os.environ['PATH']}"},
        )
        self.wait("containerd", _answers(self.places.containerd_socket))

    def _up(self) -> None:
        places, ports = self.places, self.ports
        host.mount_missing_cgroups(self.traces)
        host.share_mounts(KUBELET_DIR, self.traces)
        self._write_containerd_settings()
        self.daemons.start("etcd", config.etcd(places, ports))
        self.make_namespace()
        self.start_containerd()
        self.traces.add_address(config.API_ADDRESS)
        self.start_api_server()
        self.import_image(places.images / "busybox.tar")
        (places.state / "kubeconfig").write_text(config.kubeconfig(places))
        self.wait("kube-apiserver", self.api.ready)
        self.daemons.start("kube-scheduler", config.scheduler(places, ports))
        self.daemons.start("kube-controller-manager", config.controllers(places, ports))
        self.start_kubelet()
        self.wait_kubelet()

    def import_image(self, archive: Path) -> None:
        """Give containerd the images of an archive."""
        self.ctr("images", "import", "--local", "--snapshotter", "overlayfs", str(archive))

    def _write_containerd_settings(self) -> None:
        state = self.places.state
        (state / "containerd").mkdir(parents=True)
        (self.node_root / "sys/fs/cgroup").mkdir(parents=True)
        plugins = packages.file("containernetworking-plugins", "/loopback").parent
        (state / "containerd.toml").write_text(config.containerd(self.places, plugins))
        (state / "network").mkdir()
        network = state / "network" / "10-e2e.conflist"
        network.write_text(config.network(self.places))
        default = subprocess.run(
            [self.places.runtime / "ctr", "oci", "spec"], capture_output=True, text=True, check=True
        )
        spec = config.base_spec(default.stdout, self.node_root / "sys")
        (state / "base-spec.json").write_text(spec)

    def make_namespace(self) -> None:
        """Make a mount namespace with the simulated node's /sys, for containerd and CNI plugins.

        A process holds it, so that a containerd that is started again finds its mounts. Volumes
        that the kubelet mounts appear in it; nothing that is mounted in it appears outside.
        """
        script = (
            'mount --rbind /sys/fs "$0/fs" && mount --rbind "$0" /sys && touch "$1" '
            "&& exec sleep infinity"
        )
        ready = self.places.state / "namespace-ready"
        ready.unlink(missing_ok=True)
        command = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", script)
        self.daemons.start("namespace", (*command, self.node_root / "sys", ready))
        self.wait("namespace", ready.exists)

    def _with_node_name(self, command: Sequence[str | Path]) -> Sequence[str | Path]:
        """Run a command where the node's name is known: kubectl exec and logs go to that name."""
        hosts = self.places.state / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {NODE}\n")
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return (
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, hosts),
            *command,
        )

    def down(self) -> None:
        """End everything that this or an earlier run started, and wipe what it wrote."""
        self.api.close()
        for name in _PARTS:  # an API server that is asked to end waits for its watches
            self.daemons.stop(name, signal.SIGKILL)
        if (self.places.state / "containerd.toml").exists():
            self._end_containers()
        self.daemons.stop("containerd")
        self.daemons.stop("namespace", signal.SIGKILL)
        host.unmount_below(self.places.state)
        host.unmount_below(KUBELET_DIR)
        host.remove_pod_cgroups()
        host.remove_run_files()
        self.traces.remove()
        shutil.rmtree(self.places.state, ignore_errors=True)

    def _end_containers(self) -> None:
        # Their shims outlive containerd; a run that was killed may have left both.
        if not self.daemons.alive("namespace"):
            self.make_namespace()
        self.start_containerd()
        for task in self.ctr("tasks", "ls", "-q").split():
            with suppress(RuntimeError):  # it has ended by itself
                self.ctr("tasks", "rm", "--force", task)
        if containers := self.ctr("containers", "ls", "-q").split():
            self.ctr("containers", "rm", *containers)

    def _fake_numa_nodes(self, count: int) -> Path:
        folder = self.places.state / "numa"
        for node in range(count):
            place = folder / f"node{node}"
            (place / "hugepages").mkdir(parents=True, exist_ok=True)
            lines = (f"Node {node} {kind}: 4194304 kB\n" for kind in ("MemTotal", "MemFree"))
            (place / "meminfo").write_text("".join(lines))
            (place / "cpulist").write_text(f"{node}\n")
            cpu = Path(f"/sys/devices/system/cpu/cpu{node}")
            link = place / cpu.name
            if cpu.exists() and not link.is_symlink():
                link.symlink_to(cpu)
        return folder


def _answers(path: Path) -> Callable[[], bool]:
    def connect() -> bool:
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(str(path))
            except OSError:
                return False
        return True

    return connect


def checkpoint_entries() -> list[dict[str, Any]]:
    """The device manager's record of each allocation (kubelet_internal_checkpoint)."""
    path = KUBELET_DIR / "device-plugins" / "kubelet_internal_checkpoint"
    entries: list[dict[str, Any]] = json.loads(path.read_text())["Data"]["PodDeviceEntries"] or []
    return entries

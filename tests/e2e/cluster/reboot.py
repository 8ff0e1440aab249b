"""A reboot of the node: what it takes away, and what it leaves.

It takes every process of the node, every mount and all of /run: the runtime's tasks, CDI specs,
device-info files, the plugin's run directory. It leaves /var/lib: the kubelet's checkpoint, the
runtime's records of containers, and files of sockets that nobody removed. The control plane is
another machine's, and stays.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.cluster import host
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.setting import KUBELET_DIR, Places
from tests.sim import processes

KUBELET_STARTS: Final = 10
SOCKETS: Final = (
    KUBELET_DIR / "device-plugins",
    KUBELET_DIR / "pod-resources",
    KUBELET_DIR / "pods-api",
    KUBELET_DIR / "plugins_registry",
)


def power_off(cluster: Cluster, *, clean: bool) -> None:
    """End all that runs on the node, and empty what lies in memory.

    ``clean``: a shutdown, in which programs remove their sockets; a power cut leaves their files.
    """
    end = signal.SIGTERM if clean else signal.SIGKILL
    cluster.daemons.stop("kubelet", end)
    cluster.daemons.stop("containerd", end)
    processes.kill(_container_processes(cluster.places))
    cluster.daemons.stop("namespace", signal.SIGKILL)  # and with it the runtime's mounts
    host.unmount_inside(KUBELET_DIR)
    host.remove_pod_cgroups()
    shutil.rmtree(cluster.places.state / "containerd" / "state")
    host.remove_run_files()
    if clean:
        for path in (path for folder in SOCKETS for path in folder.glob("*") if path.is_socket()):
            path.unlink()


def power_on(cluster: Cluster) -> None:
    """Start the runtime and the kubelet; returns when the node is ready.

    A kubelet ends where the runtime is not ready, and is started again as its unit does.
    """
    cluster.make_namespace()
    cluster.start_containerd()
    for _ in range(KUBELET_STARTS):
        cluster.start_kubelet()
        try:
            return cluster.wait_kubelet()
        except RuntimeError:
            if cluster.daemons.alive("kubelet"):
                raise
    raise RuntimeError(f"the kubelet has ended {KUBELET_STARTS} times")


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many processors busy."""
    command = (sys.executable, "-c", "while True: pass")
    loops = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _container_processes(places: Places) -> set[int]:
    """The processes below the runtime's shims, and the shims."""
    parents = dict(_parents())
    ours = {pid for pid in parents if _is_shim(pid, places)}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return ours


def _parents() -> Iterator[tuple[int, int]]:
    """Each process with its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def _is_shim(pid: int, places: Places) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return words[0].endswith("containerd-shim-runc-v2") and str(places.containerd_socket) in words

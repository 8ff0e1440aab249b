"""What has to be done to the machine itself, and undone."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Final

from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster.traces import Traces

_CGROUPS: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = (
    *("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"),
)
"""What the kubelet and runc want of cgroup v1."""
_RUN_FILES: Final = {
    Path("/var/run/cdi"): ("sriov-dp-rebellions.ai-*", "rbln-claim-*"),
    Path("/var/run/k8s.cni.cncf.io/devinfo/dp"): ("*",),
}
"""What the plugin writes for runtimes and CNI plugins."""


def check() -> None:
    """CannotRun where the machine doesn't allow it."""
    if os.geteuid() != 0:
        raise CannotRun("a kubelet needs root")
    for tool in ("apt-get", "dpkg-query", "unshare", "nsenter", "mount"):
        if not any((Path(folder) / tool).exists() for folder in os.environ["PATH"].split(":")):
            raise CannotRun(f"there is no {tool}")
    if not os.access("/dev", os.W_OK) or not _may_mount():
        raise CannotRun("this root may not mount (a container without CAP_SYS_ADMIN?)")


def address() -> str:
    """An address of the node that is not loopback, which the kubelet refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks for the way (RFC 5737 address)
        except OSError:
            raise CannotRun("the machine has no network address but loopback") from None
        found: str = probe.getsockname()[0]
        return found


def mount_missing_cgroups(traces: Traces) -> None:
    """Mount the v1 controllers that are missing; a machine with v2 alone is left as it is."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    v1 = [(place, options.split(",")) for _, place, kind, options, *_ in mounts if kind == "cgroup"]
    if not v1:
        return
    for controller in _CONTROLLERS:
        if any(controller in options for _, options in v1):
            continue
        place = _CGROUPS / controller
        traces.add_mount(place)
        subprocess.run(["mount", "-t", "cgroup", "-o", controller, "cgroup", place], check=True)


def share_mounts(folder: Path, traces: Traces) -> None:
    """Have what is mounted below a folder appear in namespaces that are made from now on.

    A container runtime in a mount namespace of its own sees the kubelet's volumes so.
    """
    traces.add_mount(folder)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything in a folder, and the folder itself, innermost first."""
    unmount_inside(folder)
    if folder in _mounts():
        subprocess.run(["umount", "--lazy", folder], check=False)


def unmount_inside(folder: Path) -> None:
    """Unmount everything in a folder, innermost first."""
    for place in reversed(_mounts()):
        if folder in place.parents:
            subprocess.run(["umount", "--lazy", place], check=False)


def remove_pod_cgroups() -> None:
    """The kubelet leaves its groups; only empty ones can be removed."""
    for tops in _CGROUPS.glob("**/kubepods") if _CGROUPS.is_dir() else ():
        for folder, _, _ in os.walk(tops, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # something still runs in it
                continue


def remove_run_files() -> None:
    """Remove what the plugin wrote below /run: it keeps CDI specs as long as pods may need them."""
    for folder, patterns in _RUN_FILES.items():
        for path in (path for pattern in patterns for path in folder.glob(pattern)):
            path.unlink(missing_ok=True)


def _mounts() -> list[Path]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [Path(line.split()[1].encode().decode("unicode_escape")) for line in lines]


def _may_mount() -> bool:
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "t", "/mnt"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0

"""The DaemonSet's pod at a real kubelet and container runtime: what it sees, and what it may not.

The image is a busybox that does nothing; all else is as it is rendered. A kubelet of 1.20 knows
every field of the pod (the DaemonSet's maxSurge came later).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import pytest

from tests.e2e.kubelet import pods
from tests.e2e.kubelet.api import PODS, Object
from tests.e2e.kubelet.cluster import Cluster
from tests.e2e.kubelet.images import IMAGE
from tests.e2e.kubelet.pods import Container
from tests.e2e.kubelet.report import Report
from tests.e2e.kubelet.setting import NODE
from tests.manifests.objects import KUSTOMIZE, objects, pod
from tests.manifests.tools import PACKAGES, CannotRun, fetched

NAME: Final = "manifest"
MADE: Final = tuple(
    Path("/run", path)
    for path in ("k8s.cni.cncf.io", "k8s.cni.cncf.io/devinfo", "k8s.cni.cncf.io/devinfo/dp", "cdi")
)
"""Folders of the host that the pod asks for, parents first."""


def spec() -> Object:
    """The pod's, with everything that any overlay mounts."""
    try:
        tools = fetched(PACKAGES[max(PACKAGES)])
    except CannotRun as reason:
        pytest.skip(f"manifests not rendered: {reason}")
    found = pod(objects(tools.kustomize(KUSTOMIZE / "overlays/cdi")))
    (container,) = found["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe", "args"):
        del container[probe]
    container |= {"image": IMAGE, "imagePullPolicy": "Never"}
    del found["serviceAccountName"]  # no controller makes tokens here
    for volume in found["volumes"]:
        if "configMap" in volume:  # nor is there anybody who sends the kubelet one
            del volume["configMap"]
            volume["emptyDir"] = {}
    return found | {"nodeName": NODE, "terminationGracePeriodSeconds": 1}


@pytest.fixture
def container(cluster: Cluster) -> Iterator[Container]:
    made = [path for path in MADE if not path.exists()]
    cluster.api.call(
        "POST",
        PODS,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec()},
    )
    try:
        yield running(cluster)
    finally:
        pods.delete(cluster, NAME)
        for path in reversed(made):
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()


def running(cluster: Cluster) -> Container:
    end = monotonic() + pods.DEADLINE_S
    while True:
        status = cluster.api.call("GET", f"{PODS}/{NAME}").get("status", {})
        (seen,) = status.get("containerStatuses") or [{}]
        if "running" in seen.get("state", {}):
            return Container(cluster, seen["containerID"])
        assert monotonic() < end, f"the pod does not run: {status}"
        sleep(pods.AGAIN_S)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_the_pod_sees_and_may(container: Container, report: Report) -> None:
    root = Path(f"/proc/{container.pid}/root")
    mounts = container.mounts()

    lines = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    rights = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert rights[name] == "0" * 16, name
    assert (rights["NoNewPrivs"], rights["Seccomp"]) == ("1", "2")

    read_only = ("/", "/dev", "/etc/pcidp", "/var/lib/kubelet/pod-resources", "/sys", "/host/usr")
    for path in read_only:
        assert "ro" in mounts[path], path
    writable = (
        "/run/rbln",
        "/var/lib/kubelet/device-plugins",
        "/var/run/cdi",
        "/var/run/k8s.cni.cncf.io/devinfo/dp",
    )
    for path in writable:
        assert "rw" in mounts[path], path
    assert "ro" not in mounts["/run/rbln"]

    # The node's own: functions, interfaces, device nodes.
    for folder in ("sys/bus/pci/devices", "sys/class/net", "dev"):
        assert names(root / folder) == names(Path("/", folder)), folder
    assert (root / "dev/null").stat().st_rdev == Path("/dev/null").stat().st_rdev
    assert (root / "var/lib/kubelet/device-plugins/kubelet.sock").is_socket()
    report.add(
        "the DaemonSet's pod (busybox in it)",
        "no capability, seccomp, root and /dev and /sys read-only; /dev, PCI functions and "
        "interfaces are the node's",
        0.0,
    )

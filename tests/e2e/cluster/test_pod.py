"""The DaemonSet's pod: what it sees, what it may, what it takes, what it writes."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import NAME, NAMESPACE, DaemonSet, overlay
from tests.e2e.cluster.kubectl import tools
from tests.e2e.cluster.pods import Container
from tests.manifests.objects import KUSTOMIZE, container, objects
from tests.system.scene import ATOM, ATOMS

REQUEST_BYTES: Final = 160 * 1024**2
"""base/daemonset.yaml; test_memory holds it to the manifest."""
LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S* ")
"""The beginning of each line of the log: one format of time."""
TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path


@pytest.fixture
def inside(installed: DaemonSet) -> Container:
    return Container(installed.cluster, installed.container_status()["containerID"])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_the_pod_sees_and_may(
    installed: DaemonSet, inside: Container, cluster: Cluster, bench: Bench
) -> None:
    root = Path(f"/proc/{inside.pid}/root")
    mounts = inside.mounts()

    lines = Path(f"/proc/{inside.pid}/status").read_text().splitlines()
    rights = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert rights[name] == "0" * 16, name
    assert (rights["NoNewPrivs"], rights["Seccomp"]) == ("1", "2")
    assert TOKEN not in mounts
    assert not (root / TOKEN.lstrip("/")).exists()

    for path in ("/", "/dev", "/etc/pcidp", "/var/lib/kubelet/pod-resources", "/sys"):
        assert "ro" in mounts[path], path
    for path in (
        "/run/rbln",
        "/var/lib/kubelet/device-plugins",
        "/run/k8s.cni.cncf.io/devinfo/dp",  # /var/run leads to /run
    ):
        assert "rw" in mounts[path], path
    assert (root / "run/rbln").stat().st_mode & 0o7777 == 0o700

    # The node's own: functions and device nodes.
    functions = "bus/pci/devices"
    assert names(root / "sys" / functions) == names(cluster.node_root / "sys" / functions)
    assert names(root / "dev") == names(Path("/dev"))
    assert (root / "dev/null").stat().st_rdev == Path("/dev/null").stat().st_rdev
    assert (root / "var/lib/kubelet/device-plugins/kubelet.sock").is_socket()
    bench.report.add(
        "the DaemonSet's pod",
        "no capability, no token, seccomp, root and /dev and /sys read-only; /dev and PCI "
        "functions are the node's; the run directory is closed (0700)",
    )


def test_memory_within_the_request(inside: Container, bench: Bench) -> None:
    manifest = container(objects(tools().kustomize(KUSTOMIZE / "base")))
    assert manifest["resources"]["requests"]["memory"] == f"{REQUEST_BYTES // 1024**2}Mi"
    used = inside.working_set_bytes()
    assert used < REQUEST_BYTES
    bench.report.add(
        "memory of the pod with two pools",
        f"{used / 1024**2:.0f} MiB of the {REQUEST_BYTES // 1024**2} MiB requested (cgroup, "
        "without what the kernel can drop)",
    )


def test_every_line_of_the_log_has_one_format_of_time(installed: DaemonSet, bench: Bench) -> None:
    lines = installed.log().splitlines()
    assert len(lines) > 5
    assert [line for line in lines if not LINE.match(line)] == []
    bench.report.add("kubectl logs", "one format of time, of supervisord's lines, too")


def test_status_names_every_device(installed: DaemonSet) -> None:
    shown = installed.run("rbln-ctl", "status")
    assert shown.returncode == 0
    assert installed.status().pools[ATOM].devices.keys() == set(ATOMS)


@pytest.fixture(scope="module")
def impatient(uninstalled: DaemonSet, cluster: Cluster) -> DaemonSet:
    periods = [
        {
            "op": "replace",
            "path": f"/spec/template/spec/containers/0/{probe}/periodSeconds",
            "value": 1,
        }
        for probe in ("readinessProbe", "livenessProbe")
    ]
    target = {"kind": "DaemonSet", "name": NAME}
    folder = overlay(
        cluster.places.state / "impatient",
        base="base",
        patches=[{"target": target, "patch": json.dumps(periods)}],
    )
    uninstalled.wait_ready(since=uninstalled.apply(folder))
    return uninstalled


class TestProbes:
    """What the comments in base/daemonset.yaml say, with the periods shortened."""

    def test_a_supervisor_that_hangs_is_not_ready_and_then_replaced(
        self, impatient: DaemonSet, bench: Bench
    ) -> None:
        pod = bench.pod({ATOM: 2}).running()
        before = impatient.container_status()
        with bench.untouched(pod):
            pid = impatient.status().supervisor.pid
            assert impatient.run("sh", "-c", f"kill -STOP {pid}").returncode == 0
            unready = impatient.wait(
                lambda: not impatient.container_status()["ready"], what="it is not ready"
            )
            restarted = impatient.wait(
                lambda: (
                    impatient.container_status()["restartCount"] > before["restartCount"]
                    and impatient.container_status()["ready"]
                ),
                what="the container was started again",
                within_s=120.0,
            )
        events = impatient.kubectl("get", "events", "--namespace", NAMESPACE)
        assert "Readiness probe failed" in events
        assert "Liveness probe failed" in events
        bench.report.add(
            "the supervisor hangs (SIGSTOP; probes each second)",
            f"not ready after {unready:.1f} s, a new container later; the pod with NPUs ran on",
            unready + restarted,
        )

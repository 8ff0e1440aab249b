"""What a kubelet or a person may mount: safe volumes serve, others are refused with a reason."""

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cluster.api import Object
from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.daemonset import DaemonSet
from tests.e2e.cluster.kubectl import Kubectl
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin_pod import PluginPod, volume
from tests.e2e.cluster.setting import KUBELET_DIR
from tests.sim.pod_resources import PodResources
from tests.system.scene import ATOM

NOBODY: Final = 65534
Make = Callable[..., PluginPod]


@pytest.fixture
def make(cluster: Cluster, kubectl: Kubectl, node: HostNode, uninstalled: DaemonSet) -> Make:
    def pod(name: str, change: Callable[[Object], None]) -> PluginPod:
        return PluginPod(cluster, kubectl, name, change)

    return pod


@pytest.fixture
def folder(cluster: Cluster) -> Iterator[Path]:
    """A folder of the host, for the run directory; what is mounted on it is seen by containerd."""
    path = Path(tempfile.mkdtemp(prefix="e2e-", dir=KUBELET_DIR))
    path.chmod(0o755)
    yield path
    with contextlib.suppress(OSError):
        subprocess.run(["umount", path], check=False, capture_output=True)
    shutil.rmtree(path, ignore_errors=True)


def on_host(path: Path, kind: str = "") -> Callable[[Object], None]:
    """Have the run directory on the host."""

    def change(spec: Object) -> None:
        volume(spec, "run")["hostPath"] = {"path": str(path), "type": kind}

    return change


def in_memory(spec: Object) -> None:
    volume(spec, "run")["emptyDir"] = {"medium": "Memory"}


def on_disk(spec: Object) -> None:
    volume(spec, "run")["emptyDir"] = {}


def with_group(spec: Object) -> None:
    spec["securityContext"]["fsGroup"] = 4242


def without_message(spec: Object) -> None:
    """The kubelet mounts nothing into the run directory; /dev has to take its file then."""
    spec["containers"][0]["terminationMessagePath"] = "/tmp/termination-log"
    spec["containers"][0]["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    spec["volumes"].append({"name": "tmp", "emptyDir": {}})


SAFE: Final = {
    "as shipped": (),
    "emptyDir in memory": (in_memory,),
    "emptyDir on disk": (on_disk,),
    "emptyDir in memory, fsGroup": (in_memory, with_group),
    "emptyDir on disk, fsGroup": (on_disk, with_group),
    "emptyDir in memory, nothing mounted into it": (in_memory, without_message),
    "emptyDir on disk, nothing mounted into it": (on_disk, without_message),
}


MODES: Final = (0o755, 0o700, 0o777, 0o1777, 0o2775)


def all_of(*changes: Callable[[Object], None]) -> Callable[[Object], None]:
    """Make several changes."""

    def change(spec: Object) -> None:
        for each in changes:
            each(spec)

    return change


def ready(pod: PluginPod, bench: Bench, what: str) -> None:
    pod.wait_ready()
    assert pod.run("stat", "-c", "%a %u", "/run/rbln") == (0, "700 0\n")
    bench.report.add(f"run directory: {what}", "Ready; closed (0700)")


def test_safe_volumes_serve(make: Make, bench: Bench) -> None:
    with ExitStack() as stack:
        pods = {
            what: stack.enter_context(make(f"safe-{number}", all_of(*changes)))
            for number, (what, changes) in enumerate(SAFE.items())
        }
        for what, pod in pods.items():
            ready(pod, bench, what)


def test_folders_of_the_host_serve(make: Make, bench: Bench, folder: Path) -> None:
    with ExitStack() as stack:
        pods = {}
        for mode in MODES:
            (path := folder / f"{mode:04o}").mkdir()
            path.chmod(mode)
            pods[path] = stack.enter_context(make(f"host-{mode:04o}", on_host(path)))
        for path, pod in pods.items():
            ready(pod, bench, f"hostPath, mode {path.name}")
            assert stat.S_IMODE(path.stat().st_mode) & 0o777 == 0o700


def refused(pod: PluginPod, bench: Bench, what: str, words: str) -> None:
    text = pod.refusal()
    assert words in text, f"{text!r}\n{pod.describe()}"
    assert len(text.splitlines()) == 1
    pod.wait_event(words)
    bench.report.add(f"run directory: {what}", f"refused: {text}")


def test_a_folder_of_another_user_is_refused(make: Make, bench: Bench, folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    with make("foreign", on_host(folder)) as pod:
        refused(pod, bench, "another user's", "belongs to user 65534")


def test_a_folder_that_others_use_is_refused(make: Make, bench: Bench, folder: Path) -> None:
    folder.chmod(0o1777)
    (folder / "somebody-elses").touch()
    with make("shared", on_host(folder)) as pod:
        refused(pod, bench, "sticky, with files of others", "others may write to it")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def test_a_volume_that_is_read_only_is_refused(make: Make, bench: Bench, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0700", "t", folder], check=True)

    with make("read-only", all_of(without_message, on_host(folder))) as pod:
        refused(pod, bench, "read-only", "/run/rbln")


def test_a_volume_that_is_full_is_refused(make: Make, bench: Bench, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=0700", "t", folder], check=True)
    (folder / "termination-log").touch()
    with contextlib.suppress(OSError):
        (folder / "lost+found").write_bytes(b"x" * 8192)

    with make("full", all_of(without_message, on_host(folder))) as pod:
        refused(pod, bench, "full", "/run/rbln")


def test_a_file_or_a_link_to_one_is_the_kubelets_to_refuse(
    make: Make, bench: Bench, folder: Path
) -> None:
    (folder / "file").touch()
    with make("file", on_host(folder / "file", "Directory")) as pod:
        pod.wait_event("hostPath type check failed")
    bench.report.add("run directory: a file", "refused by the kubelet: hostPath type check failed")


def test_a_link_to_a_folder_serves(make: Make, bench: Bench, folder: Path) -> None:
    """The runtime mounts what it leads to: in the container it is a folder as any other."""
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    with make("link", on_host(folder / "link")) as pod:
        ready(pod, bench, "hostPath that is a symbolic link to a folder")


def test_a_node_without_a_mounted_folder(make: Make, bench: Bench, folder: Path) -> None:
    def change(spec: Object) -> None:
        volume(spec, "device-plugins")["hostPath"] = {
            "path": str(folder / "missing"),
            "type": "Directory",
        }

    with make("missing", change) as pod:
        pod.wait_event("hostPath type check failed")
        pod.wait_event(str(folder / "missing"))
    bench.report.add(
        "a node without the kubelet's folder of device plugins",
        "the pod waits; kubectl describe names the folder",
    )


class TestPodResources:
    """The socket of the kubelet's pod-resources API: missing, silent or wrong."""

    @pytest.fixture
    def kubelet_folder(self, folder: Path) -> Path:
        (folder / "pod-resources").mkdir()
        return folder

    @pytest.mark.parametrize("what", ["missing", "hangs", "lies"])
    def test_a_pool_serves_and_a_reload_is_answered(
        self, make: Make, bench: Bench, kubelet_folder: Path, what: str
    ) -> None:
        def change(spec: Object) -> None:
            volume(spec, "pod-resources")["hostPath"] = {
                "path": str(kubelet_folder / "pod-resources"),
                "type": "Directory",
            }

        server = PodResources(kubelet_folder)
        if what != "missing":
            server.start()
            server.hold(ATOM, ["no such device"])
        if what == "hangs":
            server.hang()
        if what == "lies":
            server.garbage = b"\xff\xff garbage"
        try:
            with make(f"resources-{what}", change) as pod:
                pod.wait_ready()
                code, said = pod.run("rbln-ctl", "reload")
                assert code == 0, said
                assert pod.run("rbln-ctl", "probe", "ready")[0] == 0
        finally:
            if what != "missing":
                server.resume()
                server.stop()
        bench.report.add(f"pod-resources {what}", "Ready; rbln-ctl reload answers")

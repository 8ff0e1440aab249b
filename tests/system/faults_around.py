"""Faults of what the supervisor lives in and by: folders, itself, the kubelet, kernel limits."""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor.events.log import FILE as EVENTS
from rbln_worker.host.boot import read_boot_id
from rbln_worker.spec import SERVICE_ACCOUNT
from tests.sim import atomic, seccomp
from tests.sim.agent import running_agent
from tests.sim.device import SimDevice
from tests.sim.kubelet import SimKubelet
from tests.sim.stack import Stack
from tests.system.fault import (
    Fault,
    bereft,
    elsewhere,
    inside,
    nothing,
    of_another_version,
    read_only,
    stopped,
)
from tests.system.scene import ATOMS, TWO_POOLS, config, eventually, pool

KUBELET: Final = "{root}/var/lib/kubelet"
NICS: Final = "rebellions.ai/nics"


@contextmanager
def agent_without_access(stack: Stack) -> Iterator[None]:
    """An agent that has something to send, and no kubeconfig."""
    with running_agent(stack.run_dir, stack.run_dir.parent / "nowhere.yaml"):
        assert stack.ctl("reload").returncode == 0
        yield


# Systems


def with_cdi() -> Stack:
    return Stack(TWO_POOLS, arguments=("--use-cdi",))


def with_nic() -> Stack:
    nic = SimDevice(
        "0000:5e:00.0", vendor="15b3", device="1017", code="020000", driver="mlx5_core", net=("p0",)
    )
    nics = pool("nics", deviceType="netDevice", vendors=["15b3"])
    return Stack(config(nics), lambda node: node.add(nic))


def with_watcher(registration: str) -> Callable[[], Stack]:
    def watched(folder: Path) -> SimKubelet:
        return SimKubelet(folder, plugin_watcher=True)

    return lambda: Stack(TWO_POOLS, registration=registration, kubelet=watched)


# What goes wrong


def deaf_kubelet(stack: Stack) -> None:
    stack.kubelet.stop()


def no_kubelet_socket(stack: Stack) -> None:
    stack.kubelet.stop()
    stack.kubelet.socket.unlink(missing_ok=True)


@contextmanager
def no_kubelet_folder(stack: Stack) -> Iterator[None]:
    folder = stack.root / "var/lib/kubelet"
    aside = folder.rename(folder.with_name("other"))
    yield
    aside.rename(folder)


def no_registry(stack: Stack) -> None:
    stack.kubelet.stop()
    # In one step: what workers lose they write again at once.
    stack.kubelet.registry.rename(stack.root / "no-registry")


def deaf_supervisor(stack: Stack) -> None:
    if platform.machine() not in seccomp.NUMBERS:
        pytest.skip("other system call numbers")
    stack.kill()
    stack.under = (sys.executable, "-m", "tests.sim.seccomp", "socket:16")
    stack.start()


def unwritable_events(stack: Stack) -> None:
    file = stack.run_dir / EVENTS
    eventually(file.exists, what="something was written")
    atomic.put_folder(file)
    assert stack.ctl("reload").returncode == 0


def torn_checkpoint(stack: Stack) -> None:
    folder = stack.root / "var/lib/kubelet/device-plugins"
    (folder / "kubelet_internal_checkpoint").write_text('{"Data": ')


def no_file_list(stack: Stack) -> None:
    atomic.put_folder(stack.run_dir / "pools" / "rebellions.ai_nics.files")
    assert stack.ctl("rescan").returncode == 0


@contextmanager
def hanging_file(stack: Stack) -> Iterator[None]:
    stack.node.hang(ATOMS[1], "modalias")
    yield
    stack.node.set_attribute(ATOMS[1], "modalias", None)


def pool_without_token(stack: Stack) -> None:
    """The file alone: doctor reads it before anybody reloads it."""
    exported = pool("ATOM", drivers=["rebellions"], export="dra")
    stack.write_config(config(exported, pool("VM", drivers=["vfio-pci"])))


def claims_of_no_driver(stack: Stack) -> None:
    entry = {
        "uid": "u1",
        "namespace": "ml",
        "name": "npus",
        "boot": read_boot_id(),
        "state": "done",
        "devices": [{"id": ATOMS[0], "requests": ["npus"]}],
        "pods": ["ml/train-0"],
    }
    folder = stack.root / "var/lib/kubelet/plugins/npu.old.ai"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text(json.dumps({"schema": 1, "claims": {"u1": entry}}))


def other_plugin(stack: Stack) -> None:
    registered = {"rebellions.ai/ATOM": ATOMS, "example.com/npu": ATOMS[:1]}
    data = {"PodDeviceEntries": [], "RegisteredDevices": registered}
    folder = stack.root / "var/lib/kubelet/device-plugins"
    content = {"Data": data, "Checksum": 0}
    (folder / "kubelet_internal_checkpoint").write_text(json.dumps(content))


FAULTS: Final = (
    # DRA, and other exporters
    Fault(
        "api-access-missing",
        pool_without_token,
        "rebellions.ai/ATOM",
        subject=str(SERVICE_ACCOUNT / "token"),
    ),
    Fault("claims-unserved", claims_of_no_driver, "pod ml/train-0", subject="npu.old.ai"),
    Fault("foreign-exporter", other_plugin, ATOMS[0], "warning", "example.com/npu"),
    # What can't be found out
    Fault("check-failed", nothing, "the examination ended", ask=bereft),
    Fault(
        "check-timed-out", nothing, "no answer within 10 s", subject="hardware", held=hanging_file
    ),
    # Its folder, and itself
    Fault("run-dir-missing", nothing, "--run-dir", subject="/nowhere", ask=elsewhere, exit=3),
    Fault(
        "folder-not-writable",
        nothing,
        "the file system there is read-only",
        subject="{run_dir}",
        ask=read_only("{run_dir}"),
    ),
    Fault("supervisor-down", Stack.kill, "workers serve on without it", exit=3),
    Fault("supervisor-hangs", nothing, "it holds its lock", held=stopped, exit=3),
    Fault(
        "version-differs",
        nothing,
        "rbln-ctl has version 99.0.0",
        "warning",
        "rbln-supervisor",
        ask=of_another_version,
    ),
    Fault("events-not-saved", unwritable_events, "Is a directory", "warning"),
    Fault(
        *("cluster-events-not-sent", nothing, "nowhere.yaml", "warning", "rbln-agent"),
        held=agent_without_access,
    ),
    # The kubelet
    Fault("kubelet-not-listening", deaf_kubelet, "systemctl status kubelet"),
    Fault("kubelet-sock-missing", no_kubelet_socket, "--device-plugins-dir"),
    Fault(
        "kubelet-dir-missing",
        nothing,
        "--device-plugins-dir",
        subject=f"{KUBELET}/device-plugins",
        held=no_kubelet_folder,
    ),
    Fault(
        "folder-not-writable",
        nothing,
        "the file system there is read-only",
        subject=f"{KUBELET}/device-plugins",
        ask=read_only(f"{KUBELET}/device-plugins"),
    ),
    Fault(
        "folder-not-writable",
        nothing,
        "the file system there is read-only",
        subject=f"{KUBELET}/plugins_registry",
        system=with_watcher("plugin-watcher"),
        ask=read_only(f"{KUBELET}/plugins_registry"),
    ),
    Fault(
        "kubelet-dir-missing",
        no_registry,
        "--plugins-registry-dir",
        subject=f"{KUBELET}/plugins_registry",
        system=with_watcher("plugin-watcher"),
    ),
    Fault(
        "pod-resources-missing",
        lambda stack: stack.kubelet.pods.socket.unlink(),
        "No such file",
        "note",
    ),
    Fault("pod-source-failed", torn_checkpoint, "pods' devices: ", "warning"),
    Fault(
        "pod-resources-not-listening", lambda stack: stack.kubelet.pods.stop(), "--force", "warning"
    ),
    # The kernel
    Fault("kernel-events-unavailable", deaf_supervisor, "hostNetwork: true", "warning"),
    Fault(
        "inotify-exhausted",
        nothing,
        "Too many open files",
        subject="fs.inotify.max_user_instances",
        ask=inside("echo 0 > /proc/sys/user/max_inotify_instances", "--user", "--map-root-user"),
    ),
    Fault(
        "file-list-not-saved",
        no_file_list,
        "Is a directory",
        "warning",
        NICS,
        system=with_nic,
        pools=(NICS,),
    ),
)

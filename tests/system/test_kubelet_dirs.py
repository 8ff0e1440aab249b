"""The kubelet's folders: each where its kubelet has it, whatever the plugin sees it as."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.sim.kubelet import SimKubelet
from tests.sim.stack import Stack
from tests.system.scene import ATOM, TWO_POOLS, allocatable, pool_status, served

pytestmark = pytest.mark.system

CONSTANT: Final = "var/lib/kubelet/device-plugins"
ROOT_DIRS: Final = (
    "var/lib/k0s/kubelet",
    "data/kubelet",
    "var/snap/microk8s/kubelet",
)
MOUNTS: Final = subprocess.run(
    ["unshare", "--mount", "true"], capture_output=True, check=False
).returncode
needs_mounts = pytest.mark.skipif(MOUNTS != 0, reason="no mount namespace can be made here")


def moved(root_dir: str, *, watcher: bool = False) -> Callable[[Path], SimKubelet]:
    """A kubelet with this --root-dir; System's default folder leads to the node's root."""

    def kubelet(folder: Path) -> SimKubelet:
        root = folder.parents[2]
        return SimKubelet(root / root_dir, plugins=root / CONSTANT, plugin_watcher=watcher)

    return kubelet


@pytest.mark.parametrize("root_dir", ROOT_DIRS)
@pytest.mark.parametrize("registration", ["kubelet-sock", "plugin-watcher"])
def test_a_root_dir_moves_all_but_device_plugins(root_dir: str, registration: str) -> None:
    with Stack(
        TWO_POOLS,
        registration=registration,
        kubelet=moved(root_dir, watcher=registration == "plugin-watcher"),
        arguments=("--kubelet-dir", f"/{root_dir}"),
    ) as stack:
        served(stack)
        assert stack.ctl("reload").returncode == 0
        found = stack.ctl("doctor", "--json").stdout
        assert "pod-resources-missing" not in found
        assert "kubelet-dir-missing" not in found
        for listed in stack.kubelet.registrations:
            assert listed.path == registration


def test_each_folder_has_a_flag() -> None:
    with Stack(
        TWO_POOLS,
        registration="plugin-watcher",
        kubelet=moved("srv/k", watcher=True),
        arguments=(
            *("--pod-resources-dir", "/srv/k/pod-resources"),
            *("--plugins-registry-dir", "/srv/k/plugins_registry"),
        ),
    ) as stack:
        served(stack)
        assert "pod-resources-missing" not in stack.ctl("doctor", "--json").stdout


@pytest.mark.parametrize("root_dir", ROOT_DIRS)
def test_doctor_finds_the_folders_and_says_by_which_flag(root_dir: str) -> None:
    """A kubelet of an unknown folder is found by its command line."""
    with Stack(TWO_POOLS, registration="kubelet-sock", kubelet=moved(root_dir)) as stack:
        served(stack)
        process = stack.root / "proc/4242"
        process.mkdir(parents=True)
        words = (
            ("/usr/bin/k3s", "server", f"--kubelet-arg=root-dir=/{root_dir}")
            if root_dir.startswith("data")
            else ("/bin/kubelet", "--v", "2", "--root-dir", f"/{root_dir}")
        )
        (process / "cmdline").write_text("\0".join(words) + "\0")
        said = stack.ctl("doctor").stdout
        assert f"--pod-resources-dir /{root_dir}/pod-resources" in " ".join(said.split())


def test_doctor_finds_device_plugins_where_they_always_are() -> None:
    """--device-plugins-dir below a --root-dir: what our own documents used to advise."""
    with Stack(
        TWO_POOLS,
        registration="kubelet-sock",
        kubelet=moved("var/lib/k0s/kubelet"),
        arguments=(
            *("--kubelet-dir", "/var/lib/k0s/kubelet"),
            *("--device-plugins-dir", "/var/lib/k0s/kubelet/device-plugins"),
        ),
    ) as stack:
        pool_status(
            stack,
            ATOM,
            lambda pool: pool.reason == "no device-plugins folder: waiting for the kubelet",
            what="it waits",
        )
        said = " ".join(stack.ctl("doctor").stdout.split())
        assert f"--device-plugins-dir /{CONSTANT}" in said
        (problem,) = stack.status().supervisor.problems
        assert "is --device-plugins-dir right?" in problem.text


def linked(*links: tuple[str, str]) -> Callable[[Path], SimKubelet]:
    """A kubelet whose folder is reached by links below the host's root."""

    def kubelet(folder: Path) -> SimKubelet:
        root = folder.parents[2]
        for name, target in links:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(target)
        return SimKubelet(root / "var/snap/kubelet", plugin_watcher=False)

    return kubelet


@pytest.mark.parametrize(
    "links",
    [
        [("var/lib/kubelet", "/var/snap/kubelet")],
        [("var/lib/kubelet", "../../../../../../../var/snap/kubelet")],
        [("var/lib/kubelet", "/mnt//./a"), ("mnt/a", "b"), ("mnt/b", "../../var/snap/kubelet/")],
        [("var/lib", "/mnt"), ("mnt/kubelet", "/var/snap/kubelet")],
    ],
    ids=["absolute", "above-the-root", "a-chain", "a-parent"],
)
def test_links_are_followed_below_the_hosts_root(links: list[tuple[str, str]]) -> None:
    with Stack(TWO_POOLS, registration="kubelet-sock", kubelet=linked(*links)) as stack:
        served(stack)
        assert "pod-resources-missing" not in stack.ctl("doctor", "--json").stdout
        sockets = [one.name for one in stack.kubelet.plugins.iterdir() if one.is_socket()]
        assert len(sockets) == 3, "two pools and the kubelet"


@needs_mounts
@pytest.mark.parametrize("elsewhere", ["mnt/registry", "var/lib/kubelet/plugins_registry2"])
def test_the_plugin_watcher_is_found_through_any_mount(elsewhere: str) -> None:
    """The kubelet can't dial the path by which the plugin knows its own socket."""
    stack = Stack(
        TWO_POOLS,
        registration="plugin-watcher",
        kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
        arguments=("--plugins-registry-dir", f"/{elsewhere}"),
    )
    (stack.root / elsewhere).mkdir(parents=True)
    here = stack.root / "var/lib/kubelet/plugins_registry"
    mount = f'mount --bind {here} {stack.root / elsewhere} && exec "$@"'
    stack.under = ("unshare", "--mount", "sh", "-c", mount, "sh")
    with stack:
        served(stack)
        assert not [*(stack.root / elsewhere).iterdir()], "outside nothing is there"
        allocatable(stack, ATOM, 4)


@pytest.mark.parametrize("wrong", ["srv/another", "var/lib/kubelet/plugins"])
def test_a_registry_that_no_kubelet_watches_is_named_as_the_cause(wrong: str) -> None:
    def kubelet(folder: Path) -> SimKubelet:
        (folder.parents[2] / wrong).mkdir(parents=True)
        return SimKubelet(folder, plugin_watcher=True)

    with Stack(
        TWO_POOLS,
        registration="plugin-watcher",
        kubelet=kubelet,
        arguments=("--plugins-registry-dir", f"/{wrong}"),
    ) as stack:
        seen = pool_status(stack, ATOM, lambda pool: "did not ask" in pool.reason, what="the cause")
        assert "is this plugins_registry folder the one of its --root-dir?" in seen.reason

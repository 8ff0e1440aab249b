"""Which Kubernetes the suite builds and runs, and the folders it uses."""

import os
import re
from pathlib import Path
from typing import Final

from tests.e2e.cannot_run import CannotRun

MODULES: Final = Path(__file__).parent / "modules"
"""A Go module for each program that is built: go.mod and go.sum pin what it is made of."""

RELEASES: Final = ("1.37", "1.34")
"""The Kubernetes releases that have a go.mod here; the first is the default."""

RELEASE_VARIABLE: Final = "RBLN_E2E_KUBERNETES"
"""The release that the tests run against, from ``--kubernetes`` to pytest's process."""

KUBELET_DIR: Final = Path("/var/lib/kubelet")
"""The folder of device plugins is compiled into every kubelet."""

NODE: Final = "e2e"
"""The node's name."""


def release() -> str:
    """The release to run, such as 1.37; CannotRun for one that has no go.mod."""
    chosen = os.environ.get(RELEASE_VARIABLE) or RELEASES[0]
    if chosen not in RELEASES:
        raise CannotRun(f"Kubernetes {chosen}: expected one of {', '.join(RELEASES)}")
    return chosen


def pinned_version(module: str, package: str) -> str:
    """The version of a package that a go.mod requires, without its v."""
    text = (MODULES / module / "go.mod").read_text()
    match = re.search(rf"^(?:require )?\s*{re.escape(package)} v(\S+)", text, re.MULTILINE)
    if match is None:
        raise CannotRun(f"{module}/go.mod does not require {package}")
    return match[1]


def kubernetes_version() -> str:
    """The whole version, such as 1.37.2."""
    return pinned_version(f"kubernetes-{release()}", "k8s.io/kubernetes")


def at_least(minor: int) -> bool:
    """True for Kubernetes 1.``minor`` and newer."""
    return int(release().split(".")[1]) >= minor


def cache_folder() -> Path:
    """The machine's folder for what is built once: RBLN_E2E_CACHE, or in the user's cache."""
    chosen = os.environ.get("RBLN_E2E_CACHE")
    if chosen:
        return Path(chosen).absolute() / "cluster"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rbln-e2e" / "cluster"


class Places:
    """The folders below the cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.binaries = cache / "bin"
        """One folder a module and version."""
        self.images = cache / "images"
        """Archives that containerd imports."""
        self.logs = cache / "log"
        self.state = cache / "state"
        """Files of the running cluster; removed when it ends."""
        self.runs = cache / "run"
        """The processes and files that exist on the machine because of the suite."""

    @property
    def results(self) -> Path:
        """The table of the last run with this release."""
        return self.cache / f"results-{release()}.md"

    @property
    def dra(self) -> Path:
        """The table of the last run's tests of the DRA export with this release."""
        return self.cache / f"dra-{release()}.md"

    @property
    def dra_kills(self) -> Path:
        """The table of the last run of dra/kill_steps.py."""
        return self.cache / "dra-kills.md"

    @property
    def pods(self) -> Path:
        """The table of what pods had in the last run with this release."""
        return self.cache / f"pods-{release()}.md"

    @property
    def kubernetes(self) -> Path:
        """The programs of Kubernetes."""
        return self.binaries / f"kubernetes-{kubernetes_version()}"

    @property
    def runtime(self) -> Path:
        """The programs of containerd, and etcd."""
        containerd = pinned_version("runtime", "github.com/containerd/containerd/v2")
        etcd = pinned_version("runtime", "go.etcd.io/etcd/server/v3")
        return self.binaries / f"containerd-{containerd}-etcd-{etcd}"

    @property
    def multus(self) -> Path:
        """The CNI meta plugin."""
        version = pinned_version("multus", "gopkg.in/k8snetworkplumbingwg/multus-cni.v4")
        return self.binaries / f"multus-{version}"

    @property
    def containerd_socket(self) -> Path:
        """The socket that containerd listens at."""
        return self.state / "containerd" / "s"

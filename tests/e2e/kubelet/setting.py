"""Where the real kubelet and its neighbours live, and the one error that is no failure."""

import os
from pathlib import Path
from typing import Final

VERSION: Final = "1.20.2"
"""Of Kubernetes: what the system's package archive has the source of."""

KUBELET_DIR: Final = Path("/var/lib/kubelet")
"""Fixed: a kubelet 1.20 has the folder of its device plugins compiled in."""

NODE: Final = "e2e"
"""The node's name."""


class CannotRun(Exception):
    """This machine does not allow it; the text is one line that says why."""


def cache_folder() -> Path:
    """What is built once for a machine: RBLN_E2E_CACHE, or a folder of the user's cache."""
    chosen = os.environ.get("RBLN_E2E_CACHE")
    if chosen:
        return Path(chosen).absolute() / "kubelet"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rbln-e2e" / "kubelet"


class Places:
    """The folders below the cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.binaries = cache / "bin"
        self.image = cache / "image.tar"
        self.results = cache / "results.md"
        self.build = cache / "build"
        """Sources and Go's cache; removed after a build."""
        self.logs = cache / "log"
        self.state = cache / "state"
        """What the running cluster keeps; removed at its end."""
        self.runs = cache / "run"
        """The processes and files that exist on the machine because of us."""

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.state / "containerd" / "s"

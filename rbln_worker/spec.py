"""Start options of a worker; everything else comes from the supervisor through its socket."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.pool import PoolName, file_stem
from rbln_worker.core.allocation import cdi
from rbln_worker.core.allocation.cdi import Mode
from rbln_worker.core.allocation.given import PreStartChoice
from rbln_worker.core.registration import Choice, Way
from rbln_worker.process.log import Format

MAX_LINKS: Final = 40
"""Maximum number of symbolic links on the path to a folder, as in the kernel (MAXSYMLINKS)."""


class KubeletDirs(msgspec.Struct, frozen=True):
    """The kubelet's folders, which are siblings only if its --root-dir is the default."""

    device_plugins: Path
    plugins_registry: Path
    pod_resources: Path
    pods_api: Path
    plugins: Path = Path("/var/lib/kubelet/plugins")
    """The parent of the folders of DRA drivers."""

    @property
    def by_registration(self) -> Mapping[Way, Path]:
        """The folder of plugins' sockets for each way of registration."""
        return {"kubelet-sock": self.device_plugins, "plugin-watcher": self.plugins_registry}


SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder with the token and the CA of a pod's service account."""


class DraStart(msgspec.Struct, frozen=True):
    """Start options of a worker whose pool is exported by DRA."""

    driver: str
    """The name of the DRA driver."""
    node: str
    """The name of the Node object."""
    kubeconfig: Path | None = None
    """Access to the API server; None: the pod's service account."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """Start options of a worker; only the first two and ``earlier`` differ between pools."""

    pool: PoolName
    incarnation: str
    """A unique ID of each life of each worker."""
    run_dir: Path
    root: Path
    """Prefix of the host's /sys and /dev."""
    kubelet_dirs: KubeletDirs
    """The kubelet's folders with resolved links, ``root`` included."""
    registration: Choice
    host_visible: bool
    """True if the host's own files are below ``root`` (not only its /sys and /dev)."""
    cdi: Mode = "off"
    """The way to claim devices from the container runtime; ``off``: containers get device nodes."""
    pre_start: PreStartChoice = "auto"
    """The condition for PreStartContainer, before a container starts with earlier device nodes."""
    memory_most: int = 0
    """Memory limit of the worker, in bytes; 0: no limit."""
    log_level: int = logging.INFO
    log_format: Format = "text"
    earlier: WorkerCounters = msgspec.field(default_factory=WorkerCounters)
    """Counters of the pool's previous workers, to be continued."""
    is_successor: bool = False
    """True if a predecessor serves until this worker is listed."""
    dra: DraStart | None = None
    """None: the worker serves the device-plugin API."""

    @property
    def options_digest(self) -> str:
        """A digest of the options, to compare workers of any pool."""
        shared = msgspec.structs.replace(
            self, pool=PoolName(""), incarnation="", earlier=WorkerCounters(), is_successor=False
        )
        return hashlib.sha256(msgspec.json.encode(shared, enc_hook=str)).hexdigest()[:16]

    @property
    def file_stem(self) -> str:
        """The pool's part of file names."""
        return file_stem(self.pool)

    @property
    def lock_path(self) -> Path:
        """The pool's lock file, which its worker holds as long as it lives."""
        return self.run_dir / "pools" / f"{self.file_stem}.lock"

    @property
    def successor_lock_path(self) -> Path:
        """The lock file of the worker's successor, until it replaces the pool's lock file.

        No pool has this name: a resource name has no ``+``.
        """
        return self.run_dir / "pools" / f"{self.file_stem}+next.lock"

    @property
    def manifest_path(self) -> Path:
        """The list of the pool's files on the host; kept until the pool is removed."""
        return self.run_dir / "pools" / f"{self.file_stem}.files"

    @property
    def spec_folder(self) -> Path:
        """The folder of CDI specs."""
        return below_root(self.root, cdi.FOLDER)

    @property
    def events_path(self) -> Path:
        """The events of the pool's workers; kept until the pool is removed."""
        return self.run_dir / "pools" / f"{self.file_stem}.events"

    @property
    def tail_path(self) -> Path:
        """The file with the last log lines of the pool's latest worker."""
        return self.run_dir / "pools" / f"{self.file_stem}.log"


def below_root(root: Path, path: Path | str) -> Path:
    """Resolve the symbolic links of a host path, below ``root``.

    An absolute link starts again at ``root``, and ``..`` does not leave it. A path that does not
    exist, or has more than MAX_LINKS links, stays as it is.
    """
    plain = Path(root, str(path).lstrip("/"))
    if root == Path("/"):
        return plain  # the kernel resolves the same links
    pending = [*reversed(plain.relative_to(root).parts)]
    found, links = root, 0
    while pending:
        name = pending.pop()
        if name == "..":
            found = found if found == root else found.parent
            continue
        try:
            target = os.readlink(found / name)  # noqa: PTH115 - a string: '..' has to stay
        except OSError:  # not a link, or missing
            found /= name
            continue
        links += 1
        if links > MAX_LINKS:
            return plain
        found = root if target.startswith("/") else found
        pending += [part for part in reversed(target.split("/")) if part not in {"", "."}]
    return found

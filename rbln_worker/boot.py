"""What a worker is born with; everything else it is told over its link."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from rbln_worker.contract.figures import Figures
from rbln_worker.contract.pool import PoolName, stem
from rbln_worker.core import cdi
from rbln_worker.core.cdi import Mode
from rbln_worker.core.registration import Choice
from rbln_worker.log import Format

FOLDERS: Final[Mapping[str, str]] = {
    "kubelet-sock": "device-plugins",
    "plugin-watcher": "plugins_registry",
}
"""Where plugins' sockets lie below the kubelet's folder, by the way of registration."""


PreStartChoice = Literal["auto", "always", "never"]
"""``auto``: while a pod holds a device that is not what it was given any more."""


class Boot(msgspec.Struct, frozen=True):
    """The same for every pool but for the first two, and what was counted."""

    pool: PoolName
    incarnation: str
    """Unique for every life of every worker."""
    run_dir: Path
    root: Path
    """Prefix of the host's /sys and /dev."""
    kubelet_dir: Path
    """Where the kubelet's folders really lie, ``root`` included."""
    registration: Choice
    host_visible: bool
    """The host's own files lie below ``root`` (not only its /sys and /dev)."""
    cdi: Mode = "off"
    """How devices are claimed from the container runtime; ``off``: they are given directly."""
    pre_start: PreStartChoice = "auto"
    """When the kubelet has to ask before it starts a container with what it was given before."""
    memory_most: int = 0
    """Bytes of memory of its own that a worker may have; 0: as many as it likes."""
    log_level: int = logging.INFO
    log_format: Format = "text"
    alone_s: float = 3600.0
    """How often a worker that no supervisor listens to says so in its log."""
    earlier: Figures = Figures()
    """What the pool's workers before this one counted."""

    @property
    def digest(self) -> str:
        """What tells apart workers that were forked with other options, whatever their pool."""
        shared = msgspec.structs.replace(self, pool=PoolName(""), incarnation="", earlier=Figures())
        return hashlib.sha256(msgspec.json.encode(shared, enc_hook=str)).hexdigest()[:16]

    @property
    def stem(self) -> str:
        """The pool's part of file names."""
        return stem(self.pool)

    @property
    def lock_path(self) -> Path:
        """Held by the pool's one owner for as long as it lives."""
        return self.run_dir / "pools" / f"{self.stem}.lock"

    @property
    def ledger_path(self) -> Path:
        """The list of the pool's files on the host; kept until the pool is gone."""
        return self.run_dir / "pools" / f"{self.stem}.files"

    @property
    def spec_folder(self) -> Path:
        """Where CDI specs lie."""
        return host_folder(self.root, cdi.FOLDER)

    @property
    def tail_path(self) -> Path:
        """The last log lines of the pool's latest worker."""
        return self.run_dir / "pools" / f"{self.stem}.log"


def host_folder(root: Path, folder: str) -> Path:
    """Where a folder of the host's lies; /var/run is a link from the root on many hosts."""
    name = folder.removeprefix("/")
    if (root / "var/run").is_symlink() and name.startswith("var/run/"):
        name = name.removeprefix("var/")
    return root / name

"""What a worker is born with; everything else it is told over its link."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from rbln_worker.contract.figures import Figures
from rbln_worker.contract.pool import PoolName, stem
from rbln_worker.core import cdi
from rbln_worker.core.cdi import Mode
from rbln_worker.core.registration import Choice, Way
from rbln_worker.log import Format

MAX_LINKS: Final = 40
"""Symbolic links on the way to a folder; the kernel follows as many (MAXSYMLINKS)."""


class KubeletDirs(msgspec.Struct, frozen=True):
    """The kubelet's folders, which lie side by side only where its --root-dir is the default."""

    device_plugins: Path
    plugins_registry: Path
    pod_resources: Path
    pods_api: Path

    @property
    def by_registration(self) -> Mapping[Way, Path]:
        """The folder of plugins' sockets for each way of registration."""
        return {"kubelet-sock": self.device_plugins, "plugin-watcher": self.plugins_registry}


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
    kubelet_dirs: KubeletDirs
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
    is_successor: bool = False
    """The pool's worker of before serves until this one is listed."""

    @property
    def digest(self) -> str:
        """What tells apart workers that were forked with other options, whatever their pool."""
        shared = msgspec.structs.replace(
            self, pool=PoolName(""), incarnation="", earlier=Figures(), is_successor=False
        )
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
    def successor_lock_path(self) -> Path:
        """Held by the owner's successor, until it is put in the place of the owner's.

        No pool is called so: a resource name has no ``+``.
        """
        return self.run_dir / "pools" / f"{self.stem}+next.lock"

    @property
    def ledger_path(self) -> Path:
        """The list of the pool's files on the host; kept until the pool is gone."""
        return self.run_dir / "pools" / f"{self.stem}.files"

    @property
    def spec_folder(self) -> Path:
        """Where CDI specs lie."""
        return below_root(self.root, cdi.FOLDER)

    @property
    def tail_path(self) -> Path:
        """The last log lines of the pool's latest worker."""
        return self.run_dir / "pools" / f"{self.stem}.log"


def below_root(root: Path, path: Path | str) -> Path:
    """Resolve the symbolic links of a path of the host's, below ``root``.

    An absolute link begins again at ``root``, and ``..`` does not leave it. What does not exist,
    and what lies behind more than MAX_LINKS links, stays as it is written.
    """
    plain = Path(root, str(path).lstrip("/"))
    if root == Path("/"):
        return plain  # the kernel follows the same links
    pending = [*reversed(plain.relative_to(root).parts)]
    found, links = root, 0
    while pending:
        name = pending.pop()
        if name == "..":
            found = found if found == root else found.parent
            continue
        try:
            target = os.readlink(found / name)  # noqa: PTH115 - a string: '..' has to stay
        except OSError:  # no link, or nothing
            found /= name
            continue
        links += 1
        if links > MAX_LINKS:
            return plain
        found = root if target.startswith("/") else found
        pending += [part for part in reversed(target.split("/")) if part not in {"", "."}]
    return found

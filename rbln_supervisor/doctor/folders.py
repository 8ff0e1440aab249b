"""Folders, sockets and locks."""

import fcntl
import os
import re
import socket as sockets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rbln_supervisor.core.control.protocol import CONTROL_SOCKET
from rbln_supervisor.core.doctor.facts import Folder, Kubelet, RunDir, Socket
from rbln_supervisor.options import KUBELET, Options, OptionsError, load_options
from rbln_worker.channel.dealer import WORKERS_SOCKET
from rbln_worker.contract.pool import pool_from_stem
from rbln_worker.spec import below_root

SOCKET: Final = "kubelet.sock"
_LOCK_BYTES: Final = 64
_CMDLINE_BYTES: Final = 64 * 1024
_KUBELETS: Final = frozenset({"kubelet", "hyperkube", "kubelite", "k3s", "k3s-server", "k3s-agent"})
_ROOT_DIR: Final = re.compile(r"root-dir[=\0](/[^\0]+)")
"""One or two words of a kubelet's command line; k3s has --kubelet-arg=root-dir=DIR."""
_KNOWN_ROOT_DIRS: Final = (
    KUBELET,
    Path("/var/lib/k0s/kubelet"),  # docs.k0sproject.io, "--kubelet-root-dir"
    Path("/var/snap/microk8s/common/var/lib/kubelet"),  # args/kubelet of the snap
)
_CONNECT_TIMEOUT_S: Final = 2.0


def last_options(run_dir: Path) -> tuple[Options, str]:
    """Return the last supervisor's options, or the defaults with the reason."""
    try:
        return load_options(run_dir), ""
    except OptionsError as error:
        return Options(run_dir=run_dir), str(error)


def run_dir(path: Path, why: str) -> RunDir:
    """Examine the supervisor's run directory."""
    locked, pid = _read_lock(path / "supervisor.lock")
    control = path / CONTROL_SOCKET
    serving: dict[str, int] = {}
    for lock in sorted((path / "pools").glob("*.lock")):
        held, holder = _read_lock(lock)
        if held:
            serving[pool_from_stem(lock.stem)] = holder or 0
    return RunDir(
        folder=examine_folder(path),
        control=examine_socket(control),
        workers=examine_socket(path / WORKERS_SOCKET),
        pid=pid,
        locked=locked,
        options=why,
        serving=serving,
    )


def examine_kubelet(options: Options) -> Kubelet:
    """Examine the kubelet's folders."""
    dirs = options.kubelet_dirs
    listening = examine_socket(dirs.device_plugins / SOCKET)
    pods = examine_socket(dirs.pod_resources / SOCKET)
    registry = examine_folder(dirs.plugins_registry)
    flags: dict[str, str] = {}
    if not listening.there:
        places = (KUBELET, *_root_dirs(options.host_root))
        flags |= _flag_for_folder(options, "--device-plugins-dir", places, "device-plugins", SOCKET)
    if not pods.there:
        places = _root_dirs(options.host_root)
        flags |= _flag_for_folder(options, "--pod-resources-dir", places, "pod-resources", SOCKET)
    if not registry.there:
        places = _root_dirs(options.host_root)
        flags |= _flag_for_folder(options, "--plugins-registry-dir", places, "plugins_registry")
    return Kubelet(
        plugins=examine_folder(dirs.device_plugins),
        registry=registry,
        socket=listening,
        pod_resources=pods,
        registration=options.registration,
        flags=flags,
    )


def _flag_for_folder(
    options: Options, flag: str, places: Iterable[Path], name: str, inside: str = ""
) -> dict[str, str]:
    """Return the flag with the first of these --root-dirs that contains the folder."""
    for place in dict.fromkeys(places):
        if below_root(options.host_root, place / name / inside).exists():
            return {flag: str(place / name)}
    return {}


def _root_dirs(host_root: Path) -> tuple[Path, ...]:
    """Return the --root-dir of each running kubelet, and those of distributions."""
    told = []
    for path in (host_root / "proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()[:_CMDLINE_BYTES].decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]) in _KUBELETS:  # noqa: PTH119 - a string
            told += _ROOT_DIR.findall("\0".join(words))
    return (*map(Path, sorted(told)), *_KNOWN_ROOT_DIRS)


def examine_folder(path: Path) -> Folder:
    """Examine a folder with this user's permissions."""
    try:
        os.listdir(path)  # noqa: PTH208 - one call
    except (OSError, ValueError) as error:
        there = isinstance(error, PermissionError)
        return Folder(str(path), there=there, why=_error_text(error))
    # access(2) also detects a file system that is mounted read-only.
    writable = os.access(path, os.W_OK | os.X_OK)
    return Folder(
        str(path), there=True, writable=writable, why="" if writable else _permission_text(path)
    )


def examine_socket(path: Path) -> Socket:
    """Examine a unix socket and its listener; a connection attempt is limited in time."""
    if not path.exists():
        return Socket(str(path), why="no such file")
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as knocking:
        knocking.settimeout(_CONNECT_TIMEOUT_S)
        try:
            knocking.connect(os.fspath(path))
        except (OSError, ValueError) as error:
            return Socket(str(path), there=True, why=_error_text(error))
    return Socket(str(path), there=True, answers=True)


def _read_lock(path: Path) -> tuple[bool, int | None]:
    """Return True if a lock file is locked, and the pid in it.

    The attempt takes the lock for some microseconds (flock(2)); a program that starts just then
    tries again.
    """
    try:
        with path.open("r", errors="replace") as file:
            words = file.read(_LOCK_BYTES).split()
            pid = int(words[0]) if words and words[0].isascii() and words[0].isdigit() else None
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, pid
            return False, pid
    except OSError:
        return False, None


def _permission_text(path: Path) -> str:
    status = path.stat()
    if os.geteuid() == 0:
        return "the file system there is read-only"
    return f"it belongs to uid {status.st_uid}, mode {status.st_mode & 0o7777:04o}"


def _error_text(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)

"""The kubelet's folders and sockets, folders for host files, and limits of the kernel."""

import os
import re
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inotify_simple import INotify

from rbln_supervisor.doctor import hardware
from rbln_supervisor.doctor.run_dir import (
    check_folder,
    folder_error,
    living_processes,
    socket_error,
)
from rbln_supervisor.options import KUBELET, Options
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.allocation import cdi, devinfo
from rbln_worker.spec import below_root

_SOCKET: Final = "kubelet.sock"
_CMDLINE_BYTES: Final = 64 * 1024
_KUBELETS: Final = frozenset({"kubelet", "hyperkube", "kubelite", "k3s", "k3s-server", "k3s-agent"})
_ROOT_DIR: Final = re.compile(r"root-dir[=\0](/[^\0]+)")
"""One or two words of a kubelet's command line; k3s has --kubelet-arg=root-dir=DIR."""
_KNOWN_ROOT_DIRS: Final = (
    KUBELET,
    Path("/var/lib/k0s/kubelet"),  # docs.k0sproject.io, "--kubelet-root-dir"
    Path("/var/snap/microk8s/common/var/lib/kubelet"),  # args/kubelet of the snap
)
_NEARLY: Final = 0.8
"""Share of a limit from which on a problem is reported."""
_NO_SOCKETS: Final = "plugins can't put sockets there"


def check_kubelet(options: Options) -> Iterator[Problem]:
    """Check the kubelet's folders and sockets."""
    folder = options.kubelet_dirs.device_plugins
    place = folder / _SOCKET
    flag = "--device-plugins-dir"
    hint = "" if place.exists() else _flag_hint(options, flag, "device-plugins", _SOCKET)
    missing = "the kubelet's folder for device plugins does not exist"
    yield from check_folder(
        folder,
        (Code.KUBELET_DIR_NOT_WRITABLE, _NO_SOCKETS),
        (Code.KUBELET_DIR_MISSING, missing),
        hint,
    )
    if folder.is_dir():
        deaf = "its socket exists and nobody answers: the kubelet is down, or is starting"
        missing = "no kubelet serves device plugins there; pools register as soon as one does"
        yield from _check_socket(
            place, (Code.KUBELET_NOT_LISTENING, deaf), (Code.KUBELET_SOCK_MISSING, missing), hint
        )
    yield from _check_registry(options)
    place = options.kubelet_dirs.pod_resources / _SOCKET
    flag = "--pod-resources-dir"
    hint = "" if place.exists() else _flag_hint(options, flag, "pod-resources", _SOCKET)
    deaf = "nobody answers there: a reload that takes devices from pools is refused meanwhile"
    missing = "it is unknown which pod has which device: a reload may take devices from pods"
    yield from _check_socket(
        place, (Code.POD_RESOURCES_NOT_LISTENING, deaf), (Code.POD_RESOURCES_MISSING, missing), hint
    )


def _check_socket(
    place: Path, deaf: tuple[Code, str], missing: tuple[Code, str], hint: str
) -> Iterator[Problem]:
    """Check that a process listens; ``hint``: begin of the next step if the file is missing."""
    error = socket_error(place)
    if error and place.exists():
        yield make_problem(*deaf, str(place), (error,))
    elif error:
        code, text = missing
        yield make_problem(code, text, str(place), (error,), hint=hint + code.hint)


def _check_registry(options: Options) -> Iterator[Problem]:
    folder = options.kubelet_dirs.plugins_registry
    is_required = options.registration == "plugin-watcher"
    is_used = options.registration == "auto" and not options.kubelet_dirs.device_plugins.is_dir()
    if is_required or (is_used and folder.is_dir()):
        hint = _flag_hint(options, "--plugins-registry-dir", "plugins_registry")
        yield from check_folder(
            folder,
            (Code.PLUGINS_REGISTRY_NOT_WRITABLE, _NO_SOCKETS),
            (Code.PLUGINS_REGISTRY_MISSING, "--registration plugin-watcher needs this folder"),
            hint,
        )


def _flag_hint(options: Options, flag: str, name: str, inside: str = "") -> str:
    """Return the flag with the folder that a kubelet uses, or advice to check the flag."""
    for place in dict.fromkeys((KUBELET, *_root_dirs(options.host_root))):
        if below_root(options.host_root, place / name / inside).exists():
            return f"the kubelet has it elsewhere: {flag} {place / name}; "
    return f"is {flag} right, and in a container: is it mounted? "


def _root_dirs(host_root: Path) -> Iterable[Path]:
    """Return the --root-dir of each running kubelet, and those of distributions."""
    found = []
    for path in (host_root / "proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()[:_CMDLINE_BYTES].decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]) in _KUBELETS:  # noqa: PTH119 - a string
            found += _ROOT_DIR.findall("\0".join(words))
    return (*map(Path, sorted(found)), *_KNOWN_ROOT_DIRS)


def check_host_files(options: Options) -> Iterator[Problem]:
    """Check the folders that container runtimes and CNI plugins read."""
    pools = hardware.configured_pools(options)
    uses_device_info = any(pool.spec.device_type == "netDevice" for pool in pools)
    folders = [
        (options.cdi != "off", cdi.FOLDER, Code.CDI_NOT_WRITABLE, "CDI specs"),
        (uses_device_info, devinfo.FOLDER, Code.DEVICE_INFO_NOT_WRITABLE, "device-info files"),
    ]
    for is_used, folder, code, what in folders:
        place = below_root(options.host_root, folder)
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent  # folders are created when needed
        if is_used and (error := folder_error(place)):
            text = f"{what} can't be written there: the devices are Unhealthy"
            yield make_problem(code, text, str(place), (error,))


def check_limits(run_dir: Path) -> Iterator[Problem]:
    """Check that inotify instances and descriptors are left."""
    for pid in sorted(living_processes(run_dir).pids):
        try:
            used = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only
            limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        except OSError:  # it has ended, or belongs to another user
            continue
        if limit != resource.RLIM_INFINITY and used >= _NEARLY * limit:
            text = f"a process of ours has few descriptors left: {used} of {limit} are open"
            yield make_problem(Code.DESCRIPTORS_SHORT, text, f"pid {pid}")
    try:
        INotify().close()
    except OSError as error:
        yield make_problem(
            Code.INOTIFY_EXHAUSTED,
            "no further inotify instance can be opened: changes of files are detected late",
            "fs.inotify.max_user_instances",
            (error.strerror or str(error),),
        )

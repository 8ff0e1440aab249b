"""The kubelet's folders and sockets, and the inotify limit."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inotify_simple import INotify

from rbln_supervisor.doctor.run_dir import check_place, folder_error, socket_error
from rbln_supervisor.options import KUBELET, Options
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.spec import below_root

_SOCKET: Final = "kubelet.sock"
_CMDLINE_BYTES: Final = 64 * 1024
_KUBELETS: Final = frozenset({"kubelet", "hyperkube", "kubelite", "k3s", "k3s-server", "k3s-agent"})
_ROOT_DIR: Final = re.compile(r"root-dir[=\0](/[^\0]+)")
"""One or two words of a kubelet's command line; k3s has --kubelet-arg=root-dir=DIR."""
_KNOWN_ROOT_DIRS: Final = (
    Path("/var/lib/k0s/kubelet"),  # docs.k0sproject.io, "--kubelet-root-dir"
    Path("/var/snap/microk8s/common/var/lib/kubelet"),  # args/kubelet of the snap
)
_NO_SOCKETS: Final = "plugins put their sockets there, for the kubelet"


def check_kubelet(options: Options) -> Iterator[Problem]:
    """Check the kubelet's folders and sockets."""
    folder = options.kubelet_dirs.device_plugins
    place = folder / _SOCKET
    hint = _flag_hint(options, place, "--device-plugins-dir", "device-plugins", _SOCKET)
    missing = Code.KUBELET_DIR_MISSING
    yield from check_place(folder, folder_error(folder), _NO_SOCKETS, missing, hint=hint)
    if folder.is_dir():
        text = "no kubelet serves device plugins there; pools register as soon as one does"
        codes = Code.KUBELET_SOCK_MISSING, Code.KUBELET_NOT_LISTENING
        yield from check_place(place, socket_error(place), text, *codes, hint)
    registry = options.kubelet_dirs.plugins_registry
    is_fallback = options.registration == "auto" and registry.is_dir() and not folder.is_dir()
    if options.registration == "plugin-watcher" or is_fallback:
        hint = _flag_hint(options, registry, "--plugins-registry-dir", "plugins_registry")
        yield from check_place(registry, folder_error(registry), _NO_SOCKETS, missing, hint=hint)
    place = options.kubelet_dirs.pod_resources / _SOCKET
    hint = _flag_hint(options, place, "--pod-resources-dir", "pod-resources", _SOCKET)
    text = "the kubelet tells there which pod has which device"
    codes = Code.POD_RESOURCES_MISSING, Code.POD_RESOURCES_NOT_LISTENING
    yield from check_place(place, socket_error(place), text, *codes, hint)


def _flag_hint(options: Options, place: Path, flag: str, name: str, inside: str = "") -> str:
    """Return the flag with the folder that a kubelet uses, or advice to check the flag.

    Empty if ``place`` exists: the folder ``name`` below a kubelet's --root-dir, or a file in it.
    """
    if place.exists():
        return ""
    for root_dir in (KUBELET, *_root_dirs(options.host_root)):
        if below_root(options.host_root, root_dir / name / inside).exists():
            return f"the kubelet has it elsewhere: {flag} {root_dir / name}; "
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


def check_limits(_: Options) -> Iterator[Problem]:
    """Check that a further inotify instance can be opened."""
    try:
        INotify().close()
    except OSError as error:
        text = "no further inotify instance can be opened: changes of files are detected late"
        subject = "fs.inotify.max_user_instances"
        yield make_problem(Code.INOTIFY_EXHAUSTED, text, subject, (error.strerror or str(error),))
